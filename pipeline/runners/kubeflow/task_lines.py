r"""The lines that a container prints on stdout, and their parser.

Synopsis::

    TaskLog("Trainer", sys.stdout).say("completed")    # tfx-mnist: Trainer: completed
    TaskLine.parse("    tfx-mnist: Trainer: completed\n")   # TaskLine("Trainer", "completed")
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from components.gate.check import Check
from pipeline.result import ExitCode
from trainer import progress
from trainer.progress import Progress

STARTED = "started"
COMPLETED = "completed"
_PROGRESS = "progress "
_CHECKS = "checks "

# kfp's local runner indents what a container prints.
_LINE = re.compile(r"\s*tfx-mnist: (?P<task>\w+): (?P<text>.*)")


# The first word of a failed task's last line, such as "refused by ReleaseGate: accuracy ...".
FAILURES: Mapping[ExitCode, str] = {
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "invalid",  # the configuration or the data source
    ExitCode.REFUSED: "refused",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated",
}


@dataclass(frozen=True)
class TaskLine:
    """A line that a task printed: `STARTED`, `COMPLETED`, progress, checks, or why it failed."""

    task: str
    text: str

    @classmethod
    def parse(cls, printed: str) -> TaskLine | None:
        """Returns None for a line that a library printed."""
        match = _LINE.fullmatch(printed.rstrip())
        return match and cls(match["task"], match["text"])

    @property
    def failure(self) -> tuple[ExitCode, str] | None:
        """Exit code and reason of a failed task; None for another line."""
        words, _, reason = self.text.partition(": ")
        codes = {word: code for code, word in FAILURES.items()}
        code = codes.get(words.split(" ")[0])
        return None if code is None else (code, reason)

    @property
    def progress(self) -> Progress | None:
        """How far a training is; None for another line."""
        with contextlib.suppress(ValueError, TypeError):
            if self.text.startswith(_PROGRESS):
                return Progress(**json.loads(self.text.removeprefix(_PROGRESS)))
        return None

    @property
    def checks(self) -> tuple[Check, ...] | None:
        """The checks of a refusal that fails the task; None for another line."""
        with contextlib.suppress(ValueError, TypeError):
            if self.text.startswith(_CHECKS):
                return tuple(map(Check.from_dict, json.loads(self.text.removeprefix(_CHECKS))))
        return None


def reason(checks: Sequence[Check]) -> str:
    """Returns the sentences of the failed checks as one line; "" if none failed."""
    return "; ".join(check.sentence for check in checks if not check.passed)


class TaskLog(logging.Handler):
    """Prints the lines of a task; as a handler of `trainer.progress` one line per epoch."""

    def __init__(self, task: str, stream: TextIO) -> None:
        super().__init__()
        self._task = task
        self._stream = stream

    def say(self, text: str) -> None:
        """Prints one line at once, since kfp's local runner indents each piece that it gets.

        `print` writes two pieces if Python is unbuffered (kfp 2.16, kfp/local/logging_utils.py).
        """
        self._stream.write(f"tfx-mnist: {self._task}: {text}\n")
        self._stream.flush()

    def say_checks(self, checks: Sequence[Check]) -> None:
        """Prints the checks of a refusal that fails the task, which then has no outputs."""
        self.say(_CHECKS + json.dumps([check.to_dict() for check in checks]))

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        progress.LOGGER.addHandler(self)
        try:
            yield
        finally:
            progress.LOGGER.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if isinstance(state, Progress) and state.epoch_ended:
            self.say(_PROGRESS + json.dumps(dataclasses.asdict(state)))
