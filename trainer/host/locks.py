"""An exclusive lock of a file, which the kernel frees when its holder ends.

    with exclusive(lock_file(directory / ".name.lock"), timeout_s=30.0):

On NFS and FUSE the lock of a directory holds on one machine only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from trainer.host.files import open_descriptor

_POLL_S = 0.02


class AlreadyLocked(TimeoutError):
    """Another process held the lock all the time; `strerror` says how long."""


def lock_file(path: Path) -> int:
    """Opens a file that is there to be locked, and makes it if it is missing; raises OSError.

    If it is removed, two processes may lock two files of the same name.
    """
    return open_descriptor(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, max_bytes=None)


@contextlib.contextmanager
def exclusive(descriptor: int, *, timeout_s: float) -> Iterator[None]:
    """Holds the lock of an open file, and closes the descriptor at the end.

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
