"""Streams for stdout and stderr that never raise, whatever happens to the text.

Synopsis::

    with standard():
        print("done")                # never raises: a full disk, a closed pipe, another encoding
        lost(sys.stdout)             # OSError(28, "No space left on device"), or None

A release does not fail because its message cannot be printed. So a failed write is recorded and not
raised, and a character that the encoding lacks becomes an escape.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Outlet(io.FileIO):
    """A descriptor to which every write succeeds.

    Attributes:
      error: that of the first failed write; None if none has failed.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes, and waits if the descriptor is non-blocking and full."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self.error = self.error or error
            return len(data)
        return written


def text(descriptor: int, *, like: TextIO | None, closefd: bool) -> TextIO:
    """Returns a line-buffered text stream on an `Outlet`.

    Args:
      descriptor: to write to.
      like: the stream whose encoding to use; UTF-8 without one.
      closefd: whether closing the stream closes the descriptor.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(Outlet(descriptor, "w", closefd=closefd)),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def lost(stream: TextIO) -> OSError | None:
    """Returns why some output of the stream was lost; None if none was."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, Outlet) else None


@contextlib.contextmanager
def standard() -> Iterator[None]:
    """Makes `sys.stdout` and `sys.stderr` such streams until the block is left."""
    _occupy_closed_descriptors()
    with (
        contextlib.redirect_stdout(_never_failing(sys.stdout, 1)),
        contextlib.redirect_stderr(_never_failing(sys.stderr, 2)),
    ):
        yield


def _occupy_closed_descriptors() -> None:
    """Opens closed descriptors, whose numbers the next opened file would get, with libraries'
    output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one. For reading: a write is lost, and noted.
            os.open(os.devnull, os.O_RDONLY)


def _never_failing(given: TextIO | None, descriptor: int) -> TextIO:
    if given is None:  # the interpreter found it closed
        return text(descriptor, like=None, closefd=False)
    try:
        descriptor = given.fileno()
    except OSError:
        return given  # a test's, in memory
    with contextlib.suppress(OSError):
        given.flush()
    return text(descriptor, like=given, closefd=False)
