"""The processes of a search: keras-tuner's chief, and workers on this or on other machines.

KERASTUNER_TUNER_ID ("chief" or a worker's name), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT
(the chief's address) tell keras-tuner the role of a process.

A worker runs this module, and is the only process of a search that sees the GPUs. It trains what
the chief proposes until the search is over, and reads the job's file, and the files that this
names, by the same paths as the chief. It says its progress as `trainer.training_process` does.
SIGTERM ends it at once with 143, and SIGINT with 130: its finished trials are on disk.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.environment import collect_seldom
from trainer.host.children import end_with_parent, ending, running_child
from trainer.host.errors import UserError
from trainer.host.termination import end_at_once
from trainer.host.text import first_line, is_port, quoted
from trainer.training_process import pass_on, say_progress, seeing_gpus

if TYPE_CHECKING:
    from trainer.tuning.search import Search

TUNER_ID = "KERASTUNER_TUNER_ID"
ORACLE_IP = "KERASTUNER_ORACLE_IP"
ORACLE_PORT = "KERASTUNER_ORACLE_PORT"
VARIABLES = (TUNER_ID, ORACLE_IP, ORACLE_PORT)

FIRST_WORD_S = 3600.0  # as long as keras-tuner's workers wait for their chief
NEXT_WORD_S = 24 * 3600.0  # longer than any trial takes

_POLL_S = 0.2
_LOOPBACK = "127.0.0.1"
_MODULE = "trainer.tuning.processes"


class WorkerDied(UserError, RuntimeError):
    """A worker process ended before the search was over."""


class WorkersSilent(RuntimeError):
    """No worker of another machine has asked for a trial or ended one for too long."""


def is_worker(environment: Mapping[str, str]) -> bool:
    """Tells whether the environment makes a process one of keras-tuner's workers."""
    return ORACLE_IP in environment and "chief" not in environment.get(TUNER_ID, "")


def address_problem(environment: Mapping[str, str]) -> str:
    """Says in one line why workers do not find the chief by the environment; "" if they do."""
    if unset := [name for name in VARIABLES if not environment.get(name)]:
        return f"{', '.join(unset)} not set: set what docs/tuning.md says of chief and workers"
    port = environment[ORACLE_PORT]
    if not is_port(port):
        return f"{ORACLE_PORT} is {quoted(port)}, expected a port, 1 to 65535"
    return ""


@contextlib.contextmanager
def chief_of_local_workers() -> Iterator[None]:
    """Makes this process keras-tuner's chief, on a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port = probe.getsockname()[1]
    part = {TUNER_ID: "chief", ORACLE_IP: _LOOPBACK, ORACLE_PORT: str(port)}
    before = dict(os.environ)
    os.environ.update(part)
    try:
        yield
    finally:
        for name in part:
            del os.environ[name]
        os.environ.update({name: before[name] for name in part if name in before})


def train_in_workers(search: Search, *, count: int) -> None:
    """Searches with `count` processes that train, until no trial is left.

    Raises `WorkerDied` if one process did. The others are ended; the next call resumes the search.
    """
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    server = _serve(search)
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                _worker(
                    search.job_file,
                    shows_progress=count == 1,  # of several trials at once it could not be read
                    **{TUNER_ID: f"tuner{number}"},
                    **threads,
                )
            )
            for number in range(count)
        ]
        # keras-tuner's server notices the end up to 20 s late, the workers at once.
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(_POLL_S)
            if server.done():
                server.result()
            _require_well(workers)
        _require_well(workers)


def _require_well(workers: Sequence[_Worker]) -> None:
    for number, worker in enumerate(workers, start=1):
        worker.require_well(f"worker {number} of {len(workers)}")


def serve_workers(
    search: Search, *, first_word_s: float = FIRST_WORD_S, next_word_s: float = NEXT_WORD_S
) -> None:
    """Proposes trials to workers that were started by hand, until no trial is left.

    Raises `WorkersSilent` if no worker asked for a trial or ended one, the first time within
    `first_word_s` seconds and then within `next_word_s`.
    """
    began, server = time.monotonic(), _serve(search)
    while not server.done():
        heard = search.oracle.heard_at
        since, bound = (began, first_word_s) if heard is None else (heard, next_word_s)
        if time.monotonic() - since > bound:
            raise WorkersSilent(
                f"no worker has asked for a trial or ended one for {bound:g} s: start "
                f"`tfx-mnist worker --search {search.job_file}` on its machine, and then the "
                "same command again, which goes on with the trials that are left"
            )
        time.sleep(_POLL_S)
    server.result()


def work(job_file: Path) -> None:
    """Trains what a chief on another machine proposes; the environment says where the chief is.

    Raises `WorkerDied` if the process did. Under the same `TUNER_ID` a new one gets its trial back.
    """
    with _worker(job_file, shows_progress=True) as worker:
        worker.process.wait()
        worker.require_well("the worker")


def _serve(search: Search) -> Future[None]:
    """Starts keras-tuner's server in a daemon thread, which cannot outlive this process."""
    server: Future[None] = Future()

    def serve() -> None:
        try:
            server.set_result(search.search())
        except BaseException as error:
            server.set_exception(error)

    threading.Thread(target=serve, daemon=True).start()
    return server


class _Worker:
    """A process that trains trials; a thread passes on what it says."""

    def __init__(self, process: subprocess.Popen[str], *, shows_progress: bool) -> None:
        self.process = process
        self._shows_progress = shows_progress
        self._error = "see the log"
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def end(self) -> None:
        """Kills the process, and waits until all that it said is passed on."""
        self.process.kill()
        self._listener.join()

    def require_well(self, name: str) -> None:
        """Raises `WorkerDied` if it has ended before the search was over."""
        if self.process.poll():
            self._listener.join()
            raise WorkerDied(
                f"{name} {ending(self.process.returncode)}: {self._error}; the same command goes "
                "on with the trials that are left"
            )

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            self._error = message.get("error", self._error)
            if self._shows_progress or "progress" not in message:
                pass_on(message)


@contextlib.contextmanager
def _worker(job_file: Path, *, shows_progress: bool, **variables: str) -> Iterator[_Worker]:
    with running_child(_MODULE, str(job_file), **seeing_gpus(), **variables) as process:
        worker = _Worker(process, shows_progress=shows_progress)
        try:
            yield worker
        finally:
            worker.end()


def _train_proposals(job_file: Path) -> int:
    end_at_once("the same command goes on with the trials that are left")
    end_with_parent()
    collect_seldom()
    say = say_progress()
    import grpc

    from trainer import training
    from trainer.job import Job
    from trainer.tuning.search import open_search

    try:
        job = Job.read(job_file)
        strategy = training.prepare(job)
        chief = ":".join(os.environ.get(name, "") for name in (ORACLE_IP, ORACLE_PORT))
        logging.info("waiting for keras-tuner's chief at %s, an hour at most", chief)
        search = open_search(job, job_file.parent, strategy)
        search.search(**training.load_splits(job))
    except Exception as error:
        logging.exception("the search goes no further here")
        if isinstance(error, grpc.RpcError):  # its text has many lines, and the last ones count
            say({"error": f"keras-tuner's chief did not answer: {error.details()}"})
        else:
            say({"error": first_line(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_train_proposals(Path(sys.argv[1])))
