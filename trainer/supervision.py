"""Keeps a training among several machines alive: when one is lost, all restart and resume.

When one machine is lost, the collective operations of all others fail within seconds, and
TensorFlow cannot go on in the same process. So each machine trains in a process of its own, which
is started again, waits for the others, and goes on from the last finished epoch.

That process, which alone imports TensorFlow, runs this module too, for one attempt. It writes one
JSON object per line to stdout: `{"progress": {...}}` for each `trainer.progress.Progress`, and
`{"error": "..."}` before it ends with exit code 1 because of an error that another attempt would
meet again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer import progress
from trainer.cluster import Cluster
from trainer.environment import collect_seldom
from trainer.host.children import end_with_parent, running_child
from trainer.host.text import one_line
from trainer.job import Job

ATTEMPTS = 10  # in a row in which no epoch ends
PAUSE_S = 1.0
JOIN_S = 3600.0  # the machines may take so long to find each other and make the first steps
LAST_WORDS_S = 60.0  # the job's file may be gone for so long while the others still end

_AGAIN = 3  # exit code: another attempt may succeed


class TrainingFailed(RuntimeError):
    """The training among several machines failed; the message is one line for the user."""


def wait_for(job: Path, *, seconds: float) -> None:
    """Waits until the chief has written the job's file; raises `TrainingFailed` when time is up."""
    end = time.monotonic() + seconds
    while not job.exists():
        if time.monotonic() >= end:
            raise TrainingFailed(
                f"there is no {job} after {seconds:g} s: start the chief with the same pipeline "
                "root on a file system that the machines share"
            )
        time.sleep(PAUSE_S)


def train(job: Path) -> None:
    """Trains as one of the machines that TF_CONFIG names, until this machine's part is done.

    Raises `TrainingFailed` if an error would occur again, after too many attempts, if the other
    machines do not connect, or if the chief, which removes the job's file at its end, ended before.
    """
    failed = 0
    while failed < ATTEMPTS:
        ended_epoch, joined, end = False, threading.Event(), time.monotonic() + JOIN_S
        with _attempt(job, joined, end) as process:
            assert process.stdout is not None
            for line in process.stdout:
                joined.set()
                said = json.loads(line)
                if "error" in said:
                    raise TrainingFailed(said["error"])
                state = progress.Progress(**said["progress"])
                ended_epoch |= state.epoch_ended
                progress.report(state)
            status = process.wait()
        if status == 0:
            return
        if not job.exists():
            raise TrainingFailed("the chief has ended before this machine had: see its log")
        if not joined.is_set() and time.monotonic() >= end:
            raise TrainingFailed(
                f"the machines of TF_CONFIG did not train together within {JOIN_S:g} s: see "
                "whether each runs and reaches the others' ports; the same commands go on from the "
                "last finished epoch"
            )
        failed = 1 if ended_epoch else failed + 1
        progress.LOGGER.warning(
            "the training's process ended with %d: another machine may be lost; starting it again "
            "to go on from the last finished epoch",
            status,
        )
        time.sleep(PAUSE_S)
    raise TrainingFailed(
        f"{ATTEMPTS} attempts in a row ended without a finished epoch: see whether each machine of "
        "TF_CONFIG runs and reaches the others' ports"
    )


@contextmanager
def _attempt(job: Path, joined: threading.Event, end: float) -> Iterator[subprocess.Popen[str]]:
    """Yields the process that trains. A thread kills it some time after the job's file is gone, and
    if the machines have not joined by `end`, a time of `time.monotonic()`.

    The process cannot watch the file itself: while TensorFlow waits for a chief that has given up,
    it holds the interpreter's lock.
    """
    with running_child("trainer.supervision", str(job), stdout=subprocess.PIPE) as process:
        threading.Thread(target=_watch, args=(process, job, joined, end), daemon=True).start()
        yield process


def _watch(process: subprocess.Popen[str], job: Path, joined: threading.Event, end: float) -> None:
    while job.exists() and process.poll() is None:
        if not joined.is_set() and time.monotonic() >= end:
            process.kill()
            return
        time.sleep(PAUSE_S)
    try:
        process.wait(LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()


class _Forward(logging.Handler):
    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if state is not None:
            self._say({"progress": dataclasses.asdict(state)})


def _make_attempt(job: Path) -> int:
    end_with_parent()
    collect_seldom()
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is for the log

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=said)

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    progress.LOGGER.addHandler(_Forward(say))

    import tensorflow as tf

    from trainer.strategy import Disagreement
    from trainer.training import train_and_export

    try:
        train_and_export(Job.read(job), Cluster.from_environment())
    except (tf.errors.OpError, Disagreement, FileNotFoundError):
        logging.exception("another attempt may succeed")
        return _AGAIN
    except Exception as error:
        logging.exception("another attempt would meet this again")
        say({"error": one_line(error)})
        return 1
    return 0


if __name__ == "__main__":
    status = _make_attempt(Path(sys.argv[1]))
    sys.stderr.flush()
    # Not through Python's end, which waits for the machines that are gone.
    os._exit(status)
