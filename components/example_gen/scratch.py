"""Directories in which something is prepared, and that a killed process leaves to the next one.

Synopsis::

    with scratch_in(Path("datasets"), ".preparing-") as folder:
        fill(folder)
        os.rename(folder, "datasets/mnist")     # or it is removed again
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def scratch_in(parent: Path, prefix: str) -> Iterator[Path]:
    """Gives a new directory with the mode that the umask says, and removes what is left of it.

    Its maker holds a lock on it, of which the kernel lets go when the maker ends, however it ends.
    Those of the same prefix that nobody holds are removed first.

    Raises:
      OSError: it cannot be made.
    """
    remove_abandoned(parent, prefix)
    folder, lock = _make(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Removes the directories of that prefix whose makers are gone.

    What cannot be removed costs space and nothing else, and neither does a file system without
    locks, on which nothing is removed.
    """
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            lock = _open(folder)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _log.info("Removing what an interrupted run left: %s", folder)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    """Makes a directory and locks it; again, if it was taken for an abandoned one in between."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            lock = _open(folder)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
