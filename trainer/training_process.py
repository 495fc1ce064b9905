"""The process that trains: it alone sees the GPUs, and gives back all of its memory when it ends.

It runs this module. It imports TensorFlow, looks at the devices, starts the GPUs, and then waits
for the job, so that it can be started beside other work. The job is one line of JSON on its stdin,
and what it says is one JSON object per line on its stdout: `{"ready": true}` when it has looked at
the devices; `{"progress": {...}}` for each `trainer.progress.Progress`, and `{"note": "...",
"level": N}` for each other record of that logger; `{"error": "..."}` before it ends because of an
error that another attempt would meet again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from trainer import progress
from trainer.cluster import Cluster
from trainer.environment import SEES_GPUS, collect_seldom
from trainer.host.children import answers, end_with_parent, ending, running_child
from trainer.host.cuda import library_path
from trainer.host.errors import UserError
from trainer.host.text import first_line
from trainer.job import Job

AGAIN = 3  # exit code: another attempt of all machines together may succeed

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MODULE = "trainer.training_process"


def seeing_gpus() -> dict[str, str]:
    """Returns the variables with which a child of this process sees the GPUs, and finds the CUDA
    libraries that pip has installed.
    """
    return {SEES_GPUS: "1", "LD_LIBRARY_PATH": library_path()}


class TrainingFailed(UserError, RuntimeError):
    """The training failed; the message is one line for the user."""


class TrainingProcess:
    """The process of one training, as this process sees it; `close` kills it.

    Attributes:
      process: to wait for, or to kill.
    """

    def __init__(self, replicas: int) -> None:
        """Starts it; `replicas` is the number of devices that it must find, 0 for any."""
        self._closing = contextlib.ExitStack()
        self.process: subprocess.Popen[str] = self._closing.enter_context(
            running_child(_MODULE, str(replicas), **seeing_gpus())
        )

    def close(self) -> None:
        self._closing.close()

    def require_devices(self) -> None:
        """Waits until it has looked at the devices; raises `TrainingFailed` if it cannot train."""
        next(self._messages(), None)

    def train(self, job: Job, heard: Callable[[dict[str, Any]], None] = lambda _: None) -> int:
        """Trains, passes progress and notes on to `progress.LOGGER`, and returns the exit code.

        Args:
          job: what to train.
          heard: called with each thing that the process says once it has the job.

        Raises:
          TrainingFailed: the process has said why it cannot train.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and may have said why
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()
        for message in self._messages():
            if "ready" not in message:
                heard(message)
                pass_on(message)
        return self.process.wait()

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "error" in message:
                raise TrainingFailed(message["error"])
            yield message


def pass_on(message: dict[str, Any]) -> None:
    """Reports here what another process has said of its progress."""
    if "progress" in message:
        progress.report(progress.Progress(**message["progress"]))
    elif "note" in message:
        progress.LOGGER.log(message["level"], "%s", message["note"])


_early: list[TrainingProcess] = []  # at most one


def start_early(replicas: int) -> TrainingProcess:
    """Starts the process for the next training in this process, unless it is there already."""
    if not _early:
        _early.append(TrainingProcess(replicas))
    return _early[0]


def end_early() -> None:
    """Ends the process that was started early if no training has taken it."""
    while _early:
        _early.pop().close()


@contextlib.contextmanager
def training_process(replicas: int) -> Iterator[TrainingProcess]:
    """Takes the process that was started early, or starts one; kills it at the end."""
    with contextlib.closing(start_early(replicas)) as process:
        _early.clear()
        yield process


def train_alone(job: Job) -> None:
    """Trains on this machine alone; raises `TrainingFailed`."""
    with training_process(job.replicas) as process:
        status = process.train(job)
    if status:
        raise TrainingFailed(
            f"the process that trains {ending(status)}: see the log; the same command goes on "
            "after the last finished epoch"
        )


def say_progress() -> Callable[[dict[str, Any]], None]:
    """Lets this process say its progress on stdout to the one that started it, which logs it.

    Returns a function that says anything else. What libraries print goes to the log from now on.
    """
    said = answers()

    def say(message: dict[str, Any]) -> None:
        said.write(json.dumps(message) + "\n")  # one piece, also if this process is killed

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=_LOG_FORMAT)
    progress.LOGGER.addHandler(_Sayer(say))
    progress.LOGGER.propagate = False
    return say


class _Sayer(logging.Handler):
    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if state is not None:
            self._say({"progress": dataclasses.asdict(state)})
        else:
            self._say({"note": record.getMessage(), "level": record.levelno})


def _main(replicas: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this process
    collect_seldom()
    say = say_progress()
    cluster = Cluster.from_environment()
    import tensorflow as tf

    from trainer.strategy import Disagreement, prepare_devices, start_devices, usable_gpus
    from trainer.training import train_and_export

    # Among several machines another attempt may succeed: one may be lost, or not be there yet.
    passing = (tf.errors.OpError, Disagreement, FileNotFoundError) if cluster else ()
    try:
        if cluster is None:
            prepare_devices(replicas)
        else:
            usable_gpus()
        say({"ready": True})
        if cluster is None:  # otherwise no operation may run before all machines are there
            start_devices()
        line = sys.stdin.readline()
        end_with_parent()
        if line:
            train_and_export(Job.from_json(line), cluster)
    except passing:
        logging.exception("another attempt may succeed")
        return AGAIN
    except Exception as error:
        logging.exception("another attempt would meet this again")
        say({"error": first_line(error)})
        return 1
    return 0


if __name__ == "__main__":
    status = _main(int(sys.argv[1]))
    sys.stderr.flush()
    # Not through Python's end, which waits for the machines that are gone.
    os._exit(status)
