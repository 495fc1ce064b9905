"""How any change of a serving directory is made: under a lock, aside, and visible by one rename."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from components.serving_dir.model_files import ServingDirError, explain
from components.serving_dir.reading import decided_runs
from trainer.host.files import make_directory, sync_directory
from trainer.host.locks import exclusive, lock_file

LOCK_NAME = ".publish.lock"
LOCK_TIMEOUT_S = 60.0
PENDING_PREFIX = ".pending-"
STAGING_PREFIX = ".staging-"
REMOVED_PREFIX = ".removed-"

_log = logging.getLogger(__name__)


def make_serving_dir(serving_dir: Path) -> None:
    """Makes a missing serving directory; raises ServingDirError if the path is a file."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(serving_dir.stat().st_mode):  # a loop of links is an OSError here
            raise ServingDirError(
                f"the serving directory {serving_dir} is a file: choose another path, or remove it"
            )
    make_directory(serving_dir)


@contextlib.contextmanager
def locked(serving_dir: Path) -> Iterator[None]:
    """Holds the lock of an existing serving directory, and removes what earlier changes left.

    The lock file stays. Raises AlreadyLocked if another process still held it after
    `LOCK_TIMEOUT_S` seconds.
    """
    with exclusive(lock_file(serving_dir / LOCK_NAME), timeout_s=LOCK_TIMEOUT_S):
        _remove_leftovers(serving_dir)
        yield


@contextlib.contextmanager
def staging_in(serving_dir: Path) -> Iterator[Path]:
    """Gives a hidden path for a new version's files; what is still there afterwards is removed."""
    staging = serving_dir / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def appear(staging: Path, target: Path, done: str) -> None:
    """Gives a staging directory, whose files are on disk, its name.

    Raises:
        ServingDirError: it has the name, and the last sync failed; the message begins with `done`.
        OSError: it has not.
    """
    sync_directory(staging)
    os.rename(staging, target)
    try:
        sync_directory(target.parent)
    except OSError as error:
        raise ServingDirError(
            f"{done}, but a power cut may undo it, since {target.parent} could not be synced to "
            f"disk: {explain(error)}"
        ) from error


def _remove_leftovers(serving_dir: Path) -> None:
    """Removes what killed changes left, and what waited for a decision that was made.

    What cannot be removed costs space and nothing else.
    """
    present = list(serving_dir.iterdir())
    left = [path for path in present if path.name.startswith((STAGING_PREFIX, REMOVED_PREFIX))]
    waiting = [path for path in present if path.name.startswith(PENDING_PREFIX)]
    if waiting:
        try:
            over = decided_runs(serving_dir)
            left += [path for path in waiting if path.name.removeprefix(PENDING_PREFIX) in over]
        except ServingDirError as error:
            _log.warning("%s", error)
    for leftover in left:
        _log.info("removing what an earlier change left: %s", leftover)
        remove(leftover)


def remove(hidden: Path) -> None:
    """Removes an entry of a serving directory; what cannot be removed is logged, and stays."""
    gone = hidden.with_name(f"{REMOVED_PREFIX}{secrets.token_hex(8)}")
    try:
        os.rename(hidden, gone)  # what waited disappears at once
    except OSError as error:
        _log.warning("cannot remove %s: %s", hidden, explain(error))
    else:
        delete(gone)


def delete(gone: Path) -> None:
    """Deletes what has a name for that; what cannot be deleted is logged, and the next change tries
    again, as on NFS while a process has a file of it open.
    """
    try:
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone)
        else:
            gone.unlink()
    except OSError as error:
        _log.warning("cannot delete %s: %s, or leave it to the next change", gone, explain(error))
