"""Clusters that run Beam's pipelines, each made of real processes on this machine."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.loopback import free_ports

START_S = 300

# What Flink reaches into on Java 17, as its own start script says.
_JAVA = [
    *("java", "-Xmx512m"),
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net"),
            *("java.nio", "java.text", "java.time", "java.util", "java.util.concurrent"),
            *("java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action"),
            "sun.util.calendar",
        )
    ),
]


@dataclasses.dataclass(frozen=True)
class Engine:
    """What a cluster is started with.

    Attributes:
      master, worker, job_server: a class and its words. "{folder}" is a directory of this cluster;
        "{master_port}", "{rest_port}", "{job_port}" and "{artifact_port}" are free ports.
      registered: what a worker writes to its log once the master knows it.
      configuration: the lines of the file `flink-conf.yaml` in `folder`.
    """

    master: Sequence[str]
    worker: Sequence[str]
    job_server: Sequence[str]
    registered: str
    configuration: str = ""


FLINK = Engine(
    master=(
        "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
        *("--configDir", "{folder}"),
    ),
    worker=("org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", "{folder}"),
    job_server=(
        "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "--flink-master=localhost:{rest_port}",
    ),
    registered="Successful registration at resource manager",
    # A pipeline has dozens of shuffles: with Flink's 512 buffers of 32 KiB for each, 1 GiB would
    # not do. With Beam's classes from the parent, a Python worker is kept from stage to stage.
    configuration="""
        jobmanager.rpc.address: localhost
        jobmanager.rpc.port: {master_port}
        rest.address: localhost
        rest.bind-address: localhost
        rest.port: {rest_port}
        io.tmp.dirs: {folder}
        heartbeat.interval: 1000
        taskmanager.numberOfTaskSlots: 1
        classloader.resolve-order: parent-first
        taskmanager.cpu.cores: 1
        taskmanager.network.sort-shuffle.min-buffers: 16
        taskmanager.memory.network.min: 256m
        taskmanager.memory.network.max: 256m
        taskmanager.memory.managed.size: 128m
        taskmanager.memory.task.heap.size: 384m
        taskmanager.memory.task.off-heap.size: 0m
        taskmanager.memory.framework.heap.size: 128m
        taskmanager.memory.framework.off-heap.size: 128m
        taskmanager.memory.jvm-metaspace.size: 256m
        taskmanager.memory.jvm-overhead.min: 192m
        taskmanager.memory.jvm-overhead.max: 192m
    """,
)


class Cluster:
    """A master, two workers, Beam's job server and a pool of Beam's Python workers, until closed.

    Attributes:
      beam_args: what a run is told of it.
      folder: its logs.
    """

    def __init__(self, engine: Engine, home: Path, folder: Path) -> None:
        self.folder = folder
        self._engine = engine
        self._home = home
        self._processes = contextlib.ExitStack()
        master, rest, job, artifact, pool = free_ports(5)
        self._values: dict[str, object] = {
            **{"folder": folder, "master_port": master, "rest_port": rest},
            **{"job_port": job, "artifact_port": artifact},
        }
        lines = engine.configuration.format(**self._values).split("\n")
        folder.mkdir()
        (folder / "flink-conf.yaml").write_text("\n".join(map(str.strip, lines)))
        try:
            self._start("master", engine.master, _answers(master))
            for index in range(2):
                self._add_worker(self.folder / f"worker-{index}.log")
            ports = ("--job-port={job_port}", "--artifact-port={artifact_port}")
            self._start("jobs", (*engine.job_server, *ports), _answers(job))
            self._run("pool", _pool(pool), _answers(pool))
        except BaseException:
            self.close()
            raise
        self.beam_args = (
            *("--runner=PortableRunner", f"--job_endpoint=localhost:{job}"),
            *("--environment_type=EXTERNAL", f"--environment_config=localhost:{pool}"),
            # A Python worker is taken over by the next stage, not started anew.
            "--environment_cache_millis=60000",
            "--parallelism=2",
            # All processes here have Beam's jars and this project: nothing is sent to them.
            f"--files_to_stage={home}/jars/slf4j-api-1.7.30.jar",
            "--sdk_container_image=none",
        )

    def _add_worker(self, log: Path) -> None:
        registered = self._engine.registered
        self._start(log.stem, self._engine.worker, lambda: registered in log.read_text())

    def close(self) -> None:
        """Ends all of its processes."""
        self._processes.close()

    def _start(
        self, name: str, command: Sequence[str], ready: Callable[[], bool]
    ) -> subprocess.Popen[bytes]:
        words = [word.format(**self._values) for word in command]
        return self._run(name, [*_JAVA, "-cp", f"{self._home}/jars/*", *words], ready)

    def _run(
        self, name: str, command: Sequence[str], ready: Callable[[], bool]
    ) -> subprocess.Popen[bytes]:
        log = self.folder / f"{name}.log"
        # A pool starts its workers by the name `python`.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            command,
            stdout=self._processes.enter_context(log.open("wb")),
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        self._processes.callback(_kill, process)
        deadline = time.monotonic() + START_S
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return process


def _pool(port: int) -> list[str]:
    module = "apache_beam.runners.worker.worker_pool_main"
    return [sys.executable, "-m", module, "--service_port", str(port)]


def _answers(port: int) -> Callable[[], bool]:
    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("localhost", port)) == 0

    return answers


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
