"""Keeps a training among several machines alive: when one is lost, all restart and resume.

When one machine is lost, the collective operations of all others fail within seconds, and
TensorFlow cannot go on in the same process. So each machine's `trainer.training_process` is started
again, waits for the others, and goes on from the last finished epoch.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from trainer import progress
from trainer.cluster import Cluster
from trainer.host.files import write_durably
from trainer.job import Job
from trainer.training_process import AGAIN, TrainingFailed, training_process

ATTEMPTS = 10  # in a row in which no epoch ends
PAUSE_S = 1.0
JOIN_S = 3600.0  # within which all machines find each other and make their first steps
LAST_WORDS_S = 60.0  # to end by itself, once the chief has removed the job's file


def wait_for(job: Path, *, seconds: float) -> None:
    """Waits until the chief has written the job's file; raises `TrainingFailed` when time is up.

    A machine that starts again may have been mended: what it said of its end holds no longer.
    """
    _failure(job).unlink(missing_ok=True)
    end = time.monotonic() + seconds
    if not job.exists():
        progress.LOGGER.info("waiting up to %g s for the chief's training: %s", seconds, job)
    while not job.exists():
        if time.monotonic() >= end:
            raise TrainingFailed(
                f"there is no {job} after {seconds:g} s: start the chief with the same pipeline "
                "root on a file system that the machines share"
            )
        time.sleep(PAUSE_S)


def lead(job: Job, file: Path) -> None:
    """Trains as the chief; `file` is there for the other machines meanwhile. See `train`."""
    _failure(file).unlink(missing_ok=True)
    job.write(file)
    try:
        train(file)
    finally:
        file.unlink(missing_ok=True)
        _failure(file).unlink(missing_ok=True)


def _failure(file: Path) -> Path:
    """The file with the line of a machine that has ended for good, so that nobody waits for it."""
    return file.with_suffix(".failed")


def train(file: Path) -> None:
    """Trains as one of the machines that TF_CONFIG names, until this machine's part is done.

    Args:
      file: the job's, which the chief removes at its end.

    Raises:
      TrainingFailed: an error would occur again, here or on another machine, there were too many
        attempts, the other machines do not connect, or the chief ended before.
    """
    failed = 0
    while failed < ATTEMPTS:
        joined, end = threading.Event(), time.monotonic() + JOIN_S
        status, ended_epoch = _attempt(file, joined, end)
        if status == 0:
            return
        with contextlib.suppress(FileNotFoundError):
            raise TrainingFailed(_failure(file).read_text(encoding="utf-8"))
        if not file.exists():
            raise TrainingFailed("the chief has ended before this machine had: see its log")
        if not joined.is_set() and time.monotonic() >= end:
            raise TrainingFailed(
                f"the machines of TF_CONFIG did not train together within {JOIN_S:g} s: see "
                "whether each runs and reaches the others' ports; the same commands go on from the "
                "last finished epoch"
            )
        failed = 0 if ended_epoch else failed + 1
        progress.LOGGER.warning(
            "the training's process ended with %d: another machine may be lost; starting it again "
            "to go on from the last finished epoch",
            status,
        )
        time.sleep(PAUSE_S)
    raise TrainingFailed(
        f"{ATTEMPTS} attempts in a row ended without a finished epoch: see whether each machine of "
        "TF_CONFIG runs, finds its own port free and reaches the others' ports; the log says why "
        "each attempt ended"
    )


def _attempt(file: Path, joined: threading.Event, end: float) -> tuple[int, bool]:
    """Returns the exit code, and whether an epoch has ended. A thread kills the process some time
    after the job's file is gone, when another machine has ended for good, and if the machines have
    not joined by `end`, a time of `time.monotonic()`.

    The process cannot watch the file itself: while TensorFlow waits for a chief that has given up,
    it holds the interpreter's lock.
    """
    ended_epoch = False

    def heard(message: dict[str, Any]) -> None:
        nonlocal ended_epoch
        joined.set()
        ended_epoch |= message.get("progress", {}).get("epoch_ended", False)

    try:
        job = Job.read(file)
    except FileNotFoundError:
        return AGAIN, False  # the chief has ended
    with training_process(job.replicas) as process:
        threading.Thread(
            target=_watch, args=(process.process, file, joined, end), daemon=True
        ).start()
        try:
            status = process.train(job, heard)
        except TrainingFailed as error:
            _tell_others(file, error)
            raise
    return status, ended_epoch


def _tell_others(file: Path, error: TrainingFailed) -> None:
    cluster = Cluster.from_environment()
    if cluster is not None and file.exists():
        where = cluster.addresses[cluster.index]
        write_durably(_failure(file), f"the machine {where} cannot train: {error}")


def _watch(process: subprocess.Popen[str], job: Path, joined: threading.Event, end: float) -> None:
    while job.exists() and process.poll() is None:
        late = not joined.is_set() and time.monotonic() >= end
        if late or _failure(job).exists():
            process.kill()
            return
        time.sleep(PAUSE_S)
    try:
        process.wait(LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
