"""The output of commands: text for people, one object for programs, one line for an error.

A release does not fail because its message cannot be printed. So a failed write is recorded and not
raised, and a character that the encoding lacks becomes an escape.

Text for people leaves only through `write`, which escapes what a terminal or a CI server would
obey, because names, reasons and messages come from others. Programs get JSON, which escapes it too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pipeline.config import HooksConfig
from pipeline.hooks import tell
from pipeline.result import ExitCode, json_able
from trainer.host.text import printable, quoted

PROG = "tfx-mnist"

_LONGEST_LINE = 10_000  # characters
_NO_PATH = re.compile(r"\S{4097,}")  # longer than any path, such as somebody's 5,000 digits
_WIDEST_COLUMN = 80
# How a line begins that GitHub's runner obeys, and what it and Azure's obey anywhere in a line.
_CI_COMMAND = re.compile(r"^ *:(?=:)|#(?=#\w*\[)")


class Outlet(io.FileIO):
    """A descriptor to which every write succeeds; `error` is that of the first failed one."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes all of it, and waits if the descriptor is non-blocking and full."""
        left = memoryview(data)
        try:
            while left:
                written = super().write(left)
                if written is None:
                    select.select([], [self], [])
                else:
                    left = left[written:]
        except OSError as error:
            self.error = self.error or error
        return len(data)


def text_stream(descriptor: int, *, like: TextIO | None, closefd: bool) -> TextIO:
    """Returns a line-buffered stream on an `Outlet`, with the encoding of `like` or UTF-8.

    A buffer between them would write again what a signal, whose exception it takes for that of the
    write, has interrupted.
    """
    return io.TextIOWrapper(
        Outlet(descriptor, "w", closefd=closefd),  # type: ignore[arg-type] # as of `python -u`
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _lost(stream: TextIO) -> OSError | None:
    """Returns why some output of the stream was lost; None if none was."""
    outlet = getattr(stream, "buffer", None)
    return outlet.error if isinstance(outlet, Outlet) else None


@contextlib.contextmanager
def standard() -> Iterator[None]:
    """Makes stdout and stderr never-failing streams, and each warning a line of ours.

    Python would write a warning without a handler unescaped.
    """
    _occupy_closed_descriptors()
    former, logging.lastResort = logging.lastResort, _Complaints(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(_never_failing(sys.stdout, 1)),
            contextlib.redirect_stderr(_never_failing(sys.stderr, 2)),
        ):
            yield
    finally:
        logging.lastResort = former


def _occupy_closed_descriptors() -> None:
    """Opens closed descriptors, whose numbers and output the next opened file would get."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Takes the lowest free number, this one. It is for reading: writes fail, and are noted.
            os.open(os.devnull, os.O_RDONLY)


def _never_failing(given: TextIO | None, descriptor: int) -> TextIO:
    if given is None:  # the interpreter found it closed
        return text_stream(descriptor, like=None, closefd=False)
    try:
        descriptor = given.fileno()
    except OSError:
        return given  # a test's, in memory
    with contextlib.suppress(OSError):
        given.flush()
    return text_stream(descriptor, like=given, closefd=False)


class _Complaints(logging.Handler):
    """Skips a repeated warning, because a damaged log is read several times."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.said:
            self.said.add(line)
            complain(line)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text that may have a colour: `style` is "good", "bad" or ""."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


_ANSI = {"good": "\x1b[32m", "bad": "\x1b[31m"}
_ANSI_END = "\x1b[0m"


def write(lines: Iterable[str | Line], stream: TextIO) -> None:
    """Writes lines without wrapping, so a path stays whole at any width.

    Control characters, line breaks too, are shown as escapes.
    """
    colour = can_be_live(stream) and not os.environ.get("NO_COLOR")  # no-color.org
    for line in lines:
        code = _ANSI.get(line.style, "") if colour and isinstance(line, Line) else ""
        text = _NO_PATH.sub(lambda word: quoted(word[0]), str(line))
        text = _no_command(printable(_cut(text, _LONGEST_LINE)))
        print(f"{code}{text}{_ANSI_END if code else ''}", file=stream)
    stream.flush()


def _no_command(line: str) -> str:
    """Escapes the first sign of a command to a CI server, in a way that JSON has too."""
    return _CI_COMMAND.sub(lambda begin: f"{begin[0][:-1]}\\u{ord(begin[0][-1]):04x}", line)


def can_be_live(stream: TextIO) -> bool:
    """Tells whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def say(lines: Iterable[str | Line]) -> None:
    """Writes lines on stdout."""
    write(lines, sys.stdout)


def say_json(fields: Mapping[str, Any]) -> None:
    """Prints one object on stdout, in one line, which is no command to a CI server either."""
    print(_no_command(json.dumps(json_able(fields), allow_nan=False)), flush=True)


def complain(line: str) -> None:
    """Writes one line on stderr, after the program's name."""
    write([f"{PROG}: {line}"], sys.stderr)


def tell_hook(
    hooks: HooksConfig, event: str, fields: Mapping[str, Any], log: Path | None = None
) -> None:
    """Runs the hook of an event, if it has one, see `pipeline.hooks.tell`.

    What it prints goes to the log, or to stderr without one; what went wrong, to stderr.
    """
    told = tell(hooks, event, fields)
    lines = [f"hooks.{event}: {line}" for line in told.output.splitlines()]
    if log is None:
        write(lines, sys.stderr)
    else:
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as file:
            write(lines, file)
    if told.complaint:
        complain(told.complaint)


def fail(line: str, fields: Mapping[str, Any] | None) -> None:
    """Writes the line on stderr, unless a warning said it, and the object, if any, on stdout."""
    warned = logging.lastResort
    if not (isinstance(warned, _Complaints) and line in warned.said):
        complain(line)
    if fields is not None:
        say_json(fields)


def end(exit_code: int, *, shows: bool) -> int:
    """Returns the exit code of the process, after a command whose output is written.

    A command that only shows something fails if its output is lost, except to a closed pipe
    (`| head`).
    """
    sys.stdout.flush()
    error = _lost(sys.stdout)
    if error is None or error.errno == errno.EPIPE:
        return exit_code
    done = exit_code == 0 and not shows
    complain(
        f"cannot write to stdout: {error.strerror}"
        f"{'; what was asked for is done all the same' if done else ''}"
    )
    return ExitCode.FAILED if exit_code == 0 and shows else exit_code


def table(rows: Sequence[Sequence[str]], align: Callable[[str, int], str] = str.ljust) -> list[str]:
    """Returns rows as lines with aligned columns; nothing ends in blanks."""
    shown = [
        [*(printable(_cut(cell, _WIDEST_COLUMN)) for cell in row[:-1]), printable(row[-1])]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(align, row, widths)).rstrip() for row in shown]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"
