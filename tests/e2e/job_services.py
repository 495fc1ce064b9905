"""Beam's job services, the clusters behind them, and the workers that do their jobs.

All are processes of this machine.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.loopback import answers, free_ports
from tests.waiting import wait_until

START_S = 300

# What Flink and Spark reach into on Java 17, as their own start scripts say.
JAVA = [
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
Process = subprocess.Popen[bytes]


class Processes:
    """Processes that live until `close`, with their logs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = contextlib.ExitStack()

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool]) -> Process:
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
        self._started.callback(kill, process)
        wait_until(ready, process, log=self.log(name).read_text, timeout_s=START_S)
        return process

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def close(self) -> None:
        self._started.close()


def kill(process: Process) -> None:
    """Ends a process, and those that it started, by SIGKILL; does nothing to one that was ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def behind(processes: Processes, job_port: int) -> tuple[str, ...]:
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
    processes.start(name, command, lambda: answers(port))
    return port


def python_service(processes: Processes) -> tuple[str, ...]:
    """Starts Beam's service in Python; gives Beam's arguments for a run on it."""
    job = _beam_server(processes, "jobs", "portability.local_job_service_main", "--port")
    return behind(processes, job)


class Cluster:
    """A master, two workers, Beam's job server in front of them, and a pool of Python workers.

    A subclass starts the master, and calls `_start_all_else`.

    Args:
      jars: the folder of the engine's and Beam's.

    Attributes:
      registered: what a worker's log says when the master knows it.
      java: the words before the class path.
      beam_args: Beam's arguments for a run on it.
    """

    registered: str
    java: Sequence[str] = JAVA

    def __init__(self, processes: Processes, jars: Path) -> None:
        self._processes, self._jars = processes, jars
        self._workers: list[Process] = []
        self._started = 0  # workers, those that are lost included

    def _worker(self, name: str) -> tuple[str, Sequence[str]]:
        """The class and the arguments of a worker of that name."""
        raise NotImplementedError

    def _start_all_else(self, job_server: str, *words: str) -> None:
        self._start_worker()
        self._start_worker()
        job, artifact, expansion = free_ports(3)
        ports = [f"--job-port={job}", f"--artifact-port={artifact}"]
        ports += [f"--expansion-port={expansion}"]
        self._start("jobs", job_server, [*words, *ports], lambda: answers(job))
        (jar,) = self._jars.glob("slf4j-api-*.jar")
        self.beam_args = (
            *behind(self._processes, job),
            # A Python worker is taken over by the next stage, and never stopped: all workers of the
            # engine call theirs 1-1, so that the pool, which they share, would stop another one's.
            "--environment_cache_millis=3600000",
            # All processes here have Beam's jars and this project: nothing is sent to them.
            f"--files_to_stage={jar}",
        )

    def _start_worker(self) -> None:
        name = f"worker-{self._started}"
        self._started += 1
        log = self._processes.log(name)
        known = lambda: self.registered in log.read_text()  # noqa: E731
        self._workers.append(self._start(name, *self._worker(name), known))

    def _replace_worker(self) -> None:
        """Kills a worker and what it started, and starts another."""
        kill(self._workers.pop(0))
        self._start_worker()

    def _start(
        self, name: str, main: str, words: Sequence[str], ready: Callable[[], bool]
    ) -> Process:
        """Starts a class of Apache's."""
        command = [*self.java, "-cp", f"{self._jars}/*", f"org.apache.{main}", *words]
        return self._processes.start(name, command, ready)
