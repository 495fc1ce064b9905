"""Beam's job services and what does their jobs, each of real processes on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
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
# A pipeline has dozens of shuffles: with Flink's 512 buffers of 32 KiB for each, 1 GiB would not
# do. With Beam's classes from the parent, a Python worker is kept from stage to stage.
_FLINK = """
    jobmanager.rpc.address: localhost
    jobmanager.rpc.port: {master}
    rest.address: localhost
    rest.bind-address: localhost
    rest.port: {rest}
    io.tmp.dirs: {folder}
    heartbeat.interval: 1000
    classloader.resolve-order: parent-first
    taskmanager.numberOfTaskSlots: 1
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
"""


class Processes:
    """Processes that live until `close`, with their logs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = contextlib.ExitStack()

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool]) -> None:
        """Starts one, which writes to NAME.log, and waits until it is ready."""
        # Beam's worker pool starts its workers by the name `python`.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            command,
            stdout=self._started.enter_context(self.log(name).open("wb")),
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        self._started.callback(_kill, process)
        deadline = time.monotonic() + START_S
        while not ready():
            assert process.poll() is None, self.log(name).read_text()
            assert time.monotonic() < deadline, self.log(name).read_text()
            time.sleep(0.1)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def close(self) -> None:
        self._started.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def _behind(processes: Processes, job_port: int) -> tuple[str, ...]:
    """Starts a pool of Beam's Python workers; gives Beam's arguments for it and the service."""
    pool = _beam_server(processes, "pool", "worker.worker_pool_main", "--service_port")
    return (
        *("--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}"),
        *("--environment_type=EXTERNAL", f"--environment_config=localhost:{pool}"),
    )


def _beam_server(processes: Processes, name: str, module: str, option: str) -> int:
    """Starts a server of Beam's own, written in Python; gives its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"apache_beam.runners.{module}", option, str(port)]
    processes.start(name, command, lambda: _answers(port))
    return port


def python_service(processes: Processes) -> tuple[str, ...]:
    """Starts Beam's service in Python; gives Beam's arguments for a run on it."""
    job = _beam_server(processes, "jobs", "portability.local_job_service_main", "--port")
    return _behind(processes, job)


def flink(processes: Processes, jars: Path) -> tuple[str, ...]:
    """Starts a JobManager, two TaskManagers and Beam's job server; gives Beam's arguments."""
    master, rest, job, artifact = free_ports(4)
    folder = processes.folder
    configuration = _FLINK.format(master=master, rest=rest, folder=folder)
    (folder / "flink-conf.yaml").write_text(textwrap.dedent(configuration))

    def java(name: str, main: str, words: Sequence[str], ready: Callable[[], bool]) -> None:
        command = [*_JAVA, "-cp", f"{jars}/*", f"org.apache.{main}", *words]
        processes.start(name, command, ready)

    def task_manager(name: str) -> None:
        log = processes.log(name)
        registered = "Successful registration at resource manager"
        main = "flink.runtime.taskexecutor.TaskManagerRunner"
        java(name, main, configured, lambda: registered in log.read_text())

    configured = ["--configDir", str(folder)]
    main = "flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    java("master", main, configured, lambda: _answers(master))
    task_manager("worker-0")
    task_manager("worker-1")
    words = [f"--flink-master=localhost:{rest}", f"--job-port={job}", f"--artifact-port={artifact}"]
    java("jobs", "beam.runners.flink.FlinkJobServerDriver", words, lambda: _answers(job))
    return (
        *_behind(processes, job),
        "--parallelism=2",
        # A Python worker is taken over by the next stage, not started anew.
        "--environment_cache_millis=60000",
        # All processes here have Beam's jars and this project: nothing is sent to them.
        f"--files_to_stage={jars}/slf4j-api-1.7.30.jar",
        "--sdk_container_image=none",
    )
