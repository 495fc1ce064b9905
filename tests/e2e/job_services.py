"""Beam's job services and the workers that do their jobs, in processes of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.loopback import free_ports
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


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


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
