"""keras-tuner's chief and workers: on other machines by hand, on this one by themselves.

Synopsis::

    with chief_of_local_workers():
        search = open_search(job)
        train_in_workers(search, job.path, count=2)

    work(Path("job.json"))      # on another machine, by `tfx-mnist worker --search job.json`

keras-tuner knows a process's part by three environment variables: KERASTUNER_TUNER_ID ("chief" or
another name), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (the chief's).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.host.children import python_child

if TYPE_CHECKING:
    from trainer.tuning.search import Search

TUNER_ID = "KERASTUNER_TUNER_ID"
ORACLE_IP = "KERASTUNER_ORACLE_IP"
ORACLE_PORT = "KERASTUNER_ORACLE_PORT"

FIRST_WORD_S = 3600.0  # as long as keras-tuner's workers wait for their chief
NEXT_WORD_S = 24 * 3600.0  # no trial takes as long

_POLL_S = 0.2
_LOOPBACK = "127.0.0.1"


class WorkerDied(RuntimeError):
    """A worker process ended before the search was over."""


class WorkersSilent(RuntimeError):
    """No worker of another machine asks for a trial or ends one."""


def is_worker(environment: Mapping[str, str]) -> bool:
    """Whether the environment makes a process one of keras-tuner's workers."""
    return ORACLE_IP in environment and "chief" not in environment.get(TUNER_ID, "")


@contextlib.contextmanager
def chief_of_local_workers() -> Iterator[None]:
    """Makes this process keras-tuner's chief, at a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port = probe.getsockname()[1]
    part = {TUNER_ID: "chief", ORACLE_IP: _LOOPBACK, ORACLE_PORT: str(port)}
    before = {name: os.environ.get(name) for name in part}
    os.environ.update(part)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def train_in_workers(search: Search, job: Path, *, count: int) -> None:
    """Searches with `count` processes that train, until no trial is left.

    Raises:
      WorkerDied: one of them did; the others are ended, and the search goes on the next time.
    """
    # keras-tuner's server looks every 20 s whether it is still needed; the workers know at once.
    server = _Server(search)
    with _workers(job, count) as workers:
        while any(worker.poll() is None for worker in workers):
            time.sleep(_POLL_S)
            server.require_well()
            _require_well(workers)
        _require_well(workers)


def work(job: Path) -> None:
    """Trains what a chief on another machine proposes, in a process that the environment names.

    Args:
      job: the file that the chief names; `TUNER_ID`, `ORACLE_IP` and `ORACLE_PORT` are set.

    Raises:
      WorkerDied: the process did; started again by the same name, it gets its trial back.
    """
    with _worker(job) as worker:
        worker.wait()
        _require_well([worker])


def serve_workers(
    search: Search, *, first_word_s: float = FIRST_WORD_S, next_word_s: float = NEXT_WORD_S
) -> None:
    """Proposes trials to workers that were started by hand, until no trial is left.

    Args:
      search: of which this process is the chief.
      first_word_s: how long to wait for the first worker, in seconds.
      next_word_s: how long to wait from then on until a worker asks for a trial or ends one.

    Raises:
      WorkersSilent: nothing was heard of a worker within that time.
    """
    began, server = time.monotonic(), _Server(search)
    while not server.ended():
        heard = search.oracle.heard_at
        since, bound = (began, first_word_s) if heard is None else (heard, next_word_s)
        if time.monotonic() - since > bound:
            raise WorkersSilent(
                f"no worker has asked for a trial or ended one for {bound:g} s: start "
                f"`tfx-mnist worker --search {search.job.path}` on its machine, and then the "
                "same command again, which goes on with the trials that are left"
            )
    server.require_well()


class _Server:
    """keras-tuner's server, in a thread that ends with this process at the latest."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        """Waits a moment for its end."""
        self._thread.join(_POLL_S)
        return not self._thread.is_alive()

    def require_well(self) -> None:
        """Raises what it has raised."""
        if self._failed:
            raise self._failed[0]

    def _serve(self) -> None:
        try:
            self._search.search()
        except BaseException as error:
            self._failed.append(error)


def _require_well(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for number, worker in enumerate(workers):
        if worker.poll():
            raise WorkerDied(
                f"worker {number + 1} of {len(workers)} ended with code {worker.returncode}: see "
                "the log; the same command goes on with the trials that are left"
            )


@contextlib.contextmanager
def _workers(job: Path, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(_worker(job, **{TUNER_ID: f"tuner{number}"}, **threads))
            for number in range(count)
        ]


@contextlib.contextmanager
def _worker(job: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    child = python_child("trainer.tuning.worker", str(job), **variables)
    # Its stdin closes when this process is gone, however it went. What it prints is for the log.
    worker = subprocess.Popen(child.command, env=child.environment, stdin=subprocess.PIPE, stdout=2)
    try:
        yield worker
    finally:
        worker.kill()  # what it has finished is on disk
        worker.wait()
        if worker.stdin:
            worker.stdin.close()
