"""A file's lock that is waited for, but not for ever.

    lock_within(descriptor, seconds=10.0)

The kernel lets go of the lock when its holder ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import time

_POLL_S = 0.02


def lock_within(descriptor: int, *, seconds: float) -> None:
    """Takes the exclusive lock of an open file.

    Raises:
        TimeoutError: another process still held it after that time.
    """
    deadline = time.monotonic() + seconds
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            raise TimeoutError(
                errno.ETIMEDOUT, f"another process has held it for more than {seconds:g} s"
            )
        time.sleep(_POLL_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
