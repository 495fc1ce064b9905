"""One process at a time changes a serving directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from components.serving_dir.errors import ServingDirError

LOCK_NAME = ".publish.lock"
DEFAULT_LOCK_TIMEOUT_S = 60.0

_LOCK_POLL_S = 0.02


@contextlib.contextmanager
def locked(serving_dir: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the publishers' lock of an existing serving directory.

    The kernel lets go of it when its holder ends, however it ends. The lock file stays: removing it
    would let two publishers lock two files of the same name.

    Raises:
        ServingDirError: another publisher still held it after `timeout_s` seconds.
    """
    path = serving_dir / LOCK_NAME
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                raise ServingDirError(
                    f"another publisher has held {path} for more than {timeout_s:g} s: "
                    "wait until it ends, and publish again"
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
