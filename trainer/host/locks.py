"""An exclusive lock of a file or a directory, which the kernel frees when its holder ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

_POLL_S = 0.02


class AlreadyLocked(TimeoutError):
    """Another process held the lock all the time; `strerror` says how long."""


@contextlib.contextmanager
def exclusive(descriptor: int, *, timeout_s: float) -> Iterator[None]:
    """Holds the lock of an open file or directory, and closes the descriptor at the end.

    Raises `AlreadyLocked` if another process still held the lock after `timeout_s`, and OSError if
    the file system does not support locks.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                text = f"another process has held the lock for more than {timeout_s:g} s"
                raise AlreadyLocked(errno.ETIMEDOUT, text)
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
