"""Sends everything that libraries write to the run's log file, so the terminal stays ours.

    log = RunLog.create(Path("pipeline_root/logs/20261123T103000Z-3f2a.log"))
    with captured(log.path, show=False) as terminal:
        terminal.out.write("what a person sees")    # all else, C++ too, goes to the file

TensorFlow's C++ code writes to file descriptor 2, so the descriptors themselves are redirected.
With `show`, a thread copies the file to stderr as it grows. A pipe would lose the last output of a
killed run, and would block forever if C++ code filled it while it holds the interpreter's lock,
which the reader needs.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import dataclasses
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from pipeline.cli.output import text_stream
from trainer import progress
from trainer.host.text import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FOLLOW_INTERVAL_S = 0.1


@dataclasses.dataclass(frozen=True)
class Terminal:
    """The process's own stdout and stderr while both descriptors lead to the log file."""

    out: TextIO
    err: TextIO


@dataclasses.dataclass(frozen=True)
class RunLog:
    """The log file of one run; `made` are the directories made for it, the outermost first."""

    path: Path
    made: tuple[Path, ...]

    @classmethod
    def create(cls, path: Path) -> RunLog:
        """Makes an empty file and its directories; after an OSError nothing is left behind."""
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        made: list[Path] = []
        try:
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                made.append(folder)
            path.touch(exist_ok=False)
        except OSError:
            _remove_empty(made)
            raise
        return cls(path, tuple(made))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        _remove_empty(self.made)


@contextlib.contextmanager
def captured(path: Path, *, show: bool) -> Iterator[Terminal]:
    """Sends descriptors 1 and 2, `logging` and warnings to a file until the block is left."""
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(_redirected(path))
        if show:
            stack.enter_context(_followed(path, terminal.err))
        stack.enter_context(_python_logging())
        yield terminal


@contextlib.contextmanager
def quiet(*, show: bool) -> Iterator[None]:
    """Discards the output of libraries for a command without a log, or shows it on stderr."""
    with (
        tempfile.TemporaryDirectory() as folder,
        captured(Path(folder) / "log", show=show),
    ):
        yield


def _remove_empty(folders: list[Path] | tuple[Path, ...]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # not empty: someone else uses it by now
            folder.rmdir()


@contextlib.contextmanager
def _redirected(path: Path) -> Iterator[Terminal]:
    _flush(sys.stdout, sys.stderr)
    with contextlib.ExitStack() as stack:
        terminal = Terminal(
            out=stack.enter_context(text_stream(os.dup(1), like=sys.stdout, closefd=True)),
            err=stack.enter_context(text_stream(os.dup(2), like=sys.stderr, closefd=True)),
        )
        log_fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for fd, stream in ((1, terminal.out), (2, terminal.err)):
            os.dup2(log_fd, fd)
            stack.callback(os.dup2, stream.fileno(), fd)
        os.close(log_fd)
        # Streams of our own: the interpreter's are block-buffered when they do not lead to a
        # terminal (a crash would lose their last lines), and may have been replaced. They are
        # never closed: a library's log handler that got hold of one uses it until the end.
        for fd, redirect in ((1, contextlib.redirect_stdout), (2, contextlib.redirect_stderr)):
            stack.enter_context(redirect(text_stream(fd, like=None, closefd=False)))
        try:
            yield terminal
        finally:
            _flush_captured()


def _flush(*streams: TextIO) -> None:
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader has gone
            stream.flush()


def _flush_captured() -> None:
    """Flushes C's own buffers too, which would reach the real stdout at exit."""
    originals = [stream for stream in (sys.__stdout__, sys.__stderr__) if stream is not None]
    _flush(sys.stdout, sys.stderr, *originals)
    ctypes.CDLL(None).fflush(None)


@contextlib.contextmanager
def _followed(path: Path, target: TextIO) -> Iterator[None]:
    ended = threading.Event()
    # In bytes: the file may end in the middle of a character while it is being written. Opened
    # here, since by the time the thread gets its turn a short run may have removed the file.
    with open(path, "rb") as log:
        thread = threading.Thread(target=_follow, args=(log, target, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            _flush_captured()
            ended.set()
            thread.join()


def _follow(log: BinaryIO, target: TextIO, ended: threading.Event) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    running = True
    while running:
        running = not ended.wait(FOLLOW_INTERVAL_S)
        target.write(printable(decoder.decode(log.read(), final=not running), keep="\n\t"))
        target.flush()


@contextlib.contextmanager
def _python_logging() -> Iterator[None]:
    # TFX and Beam log through absl, whose logger lets only warnings pass until it is told.
    from absl import logging as absl_logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(FORMAT))
    handler.addFilter(_is_worth_a_line)
    root = logging.getLogger()
    level, verbosity = root.level, absl_logging.get_verbosity()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        absl_logging.set_verbosity(verbosity)
        root.setLevel(level)
        root.removeHandler(handler)


class _Formatter(logging.Formatter):
    """Indents each further line of a record, so that no text in it can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t").replace("\n", "\n  ")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """The file gets only the ends of the epochs of a training."""
    state = getattr(record, "progress", None)
    return not isinstance(state, progress.Progress) or state.epoch_ended
