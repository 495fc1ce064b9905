"""A training among several machines, kept alive: whoever is lost, all start again and go on.

Synopsis::

    train(job_file(root))      # returns when this machine's part is done

When one machine is lost, the collective operations of all others fail within seconds, and
TensorFlow cannot be told to go on without a new process. So each machine trains in a process of its
own, which is started again, waits for the others, and goes on from the last finished epoch. Needs
no TensorFlow itself.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer import progress
from trainer.host.children import python_child

ATTEMPTS = 10  # in a row in which no epoch ends
PAUSE_S = 1.0
JOIN_S = 3600.0  # the machines may take so long to find each other and make the first steps
LAST_WORDS_S = 60.0  # the job's file may be gone for so long while the others still end


class TrainingFailed(RuntimeError):
    """The training among several machines did not come to its end; one line says why."""


def train(job: Path) -> None:
    """Trains as one machine of those that TF_CONFIG names.

    Args:
      job: the job's file; when it is gone, the chief has ended.

    Raises:
      TrainingFailed: an error that would come again, too many attempts, the other machines do not
        come, or the chief has ended before.
    """
    failed = 0
    while failed < ATTEMPTS:
        ended_epoch, joined, end = False, threading.Event(), time.monotonic() + JOIN_S
        with _process(job, joined, end) as process:
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


def wait_for(job: Path, *, seconds: float) -> None:
    """Waits until the chief has written the job's file.

    Raises:
      TrainingFailed: it has not within that time.
    """
    end = time.monotonic() + seconds
    while not job.exists():
        if time.monotonic() >= end:
            raise TrainingFailed(
                f"there is no {job} after {seconds:g} s: start the chief with the same pipeline "
                "root on a file system that the machines share"
            )
        time.sleep(PAUSE_S)


@contextmanager
def _process(job: Path, joined: threading.Event, end: float) -> Iterator[subprocess.Popen[str]]:
    """The process that trains; it is gone when the block is left, and soon after the job's file.

    It cannot see to the latter itself: while TensorFlow waits for a chief that has given up, it
    holds the interpreter's lock. It is ended, too, where the machines have not joined by `end`, a
    time of `time.monotonic()`.
    """
    child = python_child("trainer.worker", str(job))
    process = subprocess.Popen(
        child.command,
        env=child.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    threading.Thread(target=_watch, args=(process, job, joined, end), daemon=True).start()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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
