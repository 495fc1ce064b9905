"""The output of commands: text for people, one object for programs, one line for an error.

Text for people leaves only through `write`, which escapes characters that a terminal would obey,
because names, reasons and messages come from others. Programs get JSON, which escapes them anyway.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from pipeline.cli import streams
from pipeline.result import ExitCode, json_able
from trainer.host.text import printable, quoted

PROG = "tfx-mnist"

_LONGEST_LINE = 10_000  # characters
_NO_PATH = re.compile(r"\S{4097,}")  # which have 4,096 bytes at most: somebody's 5,000 digits
_WIDEST_COLUMN = 80


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of text.

    Attributes:
      text: any text; line breaks in it are shown as escapes.
      style: "good", "bad", or "" for neither.
    """

    text: str
    style: str = ""


_ANSI = {"good": "\x1b[32m", "bad": "\x1b[31m"}
_ANSI_END = "\x1b[0m"


def write(lines: Iterable[Line], stream: TextIO, *, colour: bool = False) -> None:
    """Writes lines without wrapping and control characters, so a path stays whole at any width."""
    for line in lines:
        code = _ANSI.get(line.style, "") if colour else ""
        text = _NO_PATH.sub(lambda word: quoted(word[0]), line.text)
        text = printable(_cut(text, _LONGEST_LINE))
        print(f"{code}{text}{_ANSI_END if code else ''}", file=stream)
    stream.flush()


def say(lines: Iterable[str]) -> None:
    """Writes lines on stdout."""
    write(map(Line, lines), sys.stdout)


def say_json(fields: Mapping[str, Any]) -> None:
    """Prints one object on stdout, in one line."""
    print(json.dumps(json_able(fields), allow_nan=False), flush=True)


def answer(fields: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Prints the result of a command: the object for programs, or the lines for people."""
    if as_json:
        say_json({**fields, "error": None})
    else:
        say(lines)


def complain(line: str) -> None:
    """Writes one line on stderr, after the program's name."""
    write([Line(f"{PROG}: {line}")], sys.stderr)


@contextlib.contextmanager
def complaining() -> Iterator[None]:
    """Prints each warning that no handler logs as one line; Python would print it raw."""
    former = logging.lastResort
    logging.lastResort = _Complaints(logging.WARNING)
    try:
        yield
    finally:
        logging.lastResort = former


class _Complaints(logging.Handler):
    """A line for each record that says something new: a damaged log is read several times."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._said:
            self._said.add(line)
            complain(line)


def fail(line: str, exit_code: int, fields: Mapping[str, Any] | None) -> int:
    """Ends a command with an error: the line on stderr, and the object, if any, on stdout.

    Returns:
      The exit code.
    """
    complain(line)
    if fields is not None:
        say_json(fields)
    return exit_code


def end(exit_code: int, *, shows: bool) -> int:
    """Ends a command whose output is written.

    If the reader closed the pipe (`| head`), nothing is wrong.

    Args:
      exit_code: that of the command.
      shows: whether it only shows something, so that it fails if its output is lost.

    Returns:
      The exit code of the process.
    """
    sys.stdout.flush()
    error = streams.lost(sys.stdout)
    if error is None or error.errno == errno.EPIPE:
        return exit_code
    done = exit_code == 0 and not shows
    complain(
        f"cannot write to stdout: {error.strerror}"
        f"{'; what was asked for is done all the same' if done else ''}"
    )
    return ExitCode.FAILED if exit_code == 0 and shows else exit_code


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows as lines with aligned columns, of which the last one is not padded."""
    shown = [
        [*(printable(_cut(cell, _WIDEST_COLUMN)) for cell in row[:-1]), printable(row[-1])]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]


def size(bytes_: int) -> str:
    """Returns a size for people: "812 bytes", "4.2 MB"."""
    value, units = float(bytes_), ["kB", "MB", "GB", "TB"]
    if value < 1000:
        return f"{bytes_} bytes"
    while value >= 999.95 and units:
        value, unit = value / 1000, units.pop(0)
    return f"{value:.1f} {unit}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"
