"""What a command says: text for people, one object for programs, one line for an error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from pipeline.cli.command import PROG


def say(lines: Iterable[str]) -> None:
    """Prints lines on stdout as they are: a path is never broken, whatever the terminal's width."""
    with reader_may_be_gone(sys.stdout):
        for line in lines:
            print(_printable(line, sys.stdout))
        sys.stdout.flush()


def say_json(fields: Mapping[str, Any]) -> None:
    """Prints one object on stdout, in one line."""
    with reader_may_be_gone(sys.stdout):
        print(json.dumps(fields, allow_nan=False), flush=True)


def complain(line: str) -> None:
    """Prints one line on stderr, after the program's name."""
    with reader_may_be_gone(sys.stderr):
        print(_printable(f"{PROG}: {line}", sys.stderr), file=sys.stderr, flush=True)


def fail(line: str, exit_code: int, fields: Mapping[str, Any] | None) -> int:
    """Ends a command: the line on stderr, the object on stdout where there is one.

    Returns:
      The exit code.
    """
    complain(line)
    if fields is not None:
        say_json(fields)
    return exit_code


def end() -> int:
    """Ends a command that has printed its answer itself, as argparse does.

    Returns:
      The exit code.
    """
    with reader_may_be_gone(sys.stdout):
        sys.stdout.flush()
    return 0


@contextlib.contextmanager
def reader_may_be_gone(stream: TextIO) -> Iterator[None]:
    """A closed pipe (`| head`) is no error of the command: its exit code stays."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter flushes once more at exit, and must find an open end.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns; the last column is as wide as it wants to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def size(bytes_: int) -> str:
    """A size as a person says it: "812 bytes", "4.2 MB"."""
    value, units = float(bytes_), ["kB", "MB", "GB", "TB"]
    if value < 1000:
        return f"{bytes_} bytes"
    while value >= 999.95 and units:
        value, unit = value / 1000, units.pop(0)
    return f"{value:.1f} {unit}"


def _printable(text: str, stream: TextIO) -> str:
    """What the stream cannot encode (a file name may hold any bytes) as escapes."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
