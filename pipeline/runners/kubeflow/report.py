r"""What a container says on stdout, and how it is read again.

In the container::

    report = Report("Trainer", sys.stdout)
    with report.training():
        ...
    report.say("completed")            # tfx-mnist: Trainer: completed

On the machine that runs it::

    Line.parse("    tfx-mnist: Trainer: completed\n")   # Line(task="Trainer", text="completed")
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from components.gate.check import Check
from trainer import progress
from trainer.host.termination import INTERRUPTED, TERMINATED
from trainer.progress import Progress

STARTED = "started"
COMPLETED = "completed"
# The exit codes of a task that does not complete, as those of `tfx-mnist run`.
FAILED = 1
INVALID = 2  # the configuration or the data source was refused
REFUSED = 3  # by a gate
# The first word of the last line, such as "refused by ReleaseGate: accuracy is ...".
FAILURES = {
    FAILED: "failed",
    INVALID: "invalid",
    REFUSED: "refused",
    INTERRUPTED: "interrupted",
    TERMINATED: "terminated",
}
_PROGRESS = "progress "
_CHECKS = "checks "

# kfp's local runner indents what a container prints.
_LINE = re.compile(r"\s*tfx-mnist: (?P<task>\w+): (?P<text>.*)")


@dataclass(frozen=True)
class Line:
    """Something that a task said.

    Attributes:
      task: its name.
      text: `STARTED`, `COMPLETED`, a training's state, checks, or why it failed.
    """

    task: str
    text: str

    @classmethod
    def parse(cls, printed: str) -> Line | None:
        """None for what a library printed."""
        match = _LINE.fullmatch(printed.rstrip())
        return match and cls(match["task"], match["text"])

    @property
    def failure(self) -> tuple[int, str] | None:
        """(exit code, reason) of a task that failed."""
        what, _, reason = self.text.partition(": ")
        codes = {word: code for code, word in FAILURES.items()}
        word = what.split(" ")[0]
        return (codes[word], reason) if word in codes else None

    @property
    def progress(self) -> Progress | None:
        """The training's state, if it is that."""
        if not self.text.startswith(_PROGRESS):
            return None
        return Progress(**json.loads(self.text.removeprefix(_PROGRESS)))

    @property
    def checks(self) -> tuple[Check, ...] | None:
        """What the task asked before it said no, if it is that."""
        if not self.text.startswith(_CHECKS):
            return None
        return tuple(map(Check.from_dict, json.loads(self.text.removeprefix(_CHECKS))))


class Report:
    """What one task says."""

    def __init__(self, task: str, stream: TextIO) -> None:
        self._task = task
        self._stream = stream

    def say(self, text: str) -> None:
        """Prints one line, at once.

        `print` writes the line's end by itself when Python is unbuffered, and kfp's local runner
        indents each piece that it gets (kfp 2.16, kfp/local/logging_utils.py).
        """
        self._stream.write(f"tfx-mnist: {self._task}: {text}\n")
        self._stream.flush()

    def say_checks(self, checks: Sequence[Check]) -> None:
        """Says what was asked before a no: a task that fails has no outputs."""
        self.say(_CHECKS + json.dumps([check.to_dict() for check in checks]))

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Says how training goes on, until the block is left."""
        handler = _ProgressHandler(self)
        progress.LOGGER.addHandler(handler)
        try:
            yield
        finally:
            progress.LOGGER.removeHandler(handler)


class _ProgressHandler(logging.Handler):
    """One line per epoch: a log is no terminal."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if isinstance(state, Progress) and state.epoch_ended:
            self._report.say(_PROGRESS + json.dumps(dataclasses.asdict(state)))
