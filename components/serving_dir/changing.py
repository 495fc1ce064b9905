"""What all changes of a serving directory share: one at a time, prepared aside, then one rename."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from components.serving_dir.errors import ServingDirError, explain
from components.serving_dir.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileRecord,
    Manifest,
    digest_of_records,
)
from components.serving_dir.reading import live
from trainer.host.files import open_descriptor, sync_directory, write_durably
from trainer.host.locks import AlreadyLocked, exclusive
from trainer.host.strict_json import INT64_MAX

LOCK_NAME = ".publish.lock"
DEFAULT_LOCK_TIMEOUT_S = 60.0
STAGING_PREFIX = ".staging-"
REMOVED_PREFIX = ".removed-"

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Returns the time of the machine's clock."""
    return datetime.now(timezone.utc)


@contextlib.contextmanager
def changing(serving_dir: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the lock of an existing serving directory, without what killed processes left in it.

    Raises:
        ServingDirError: as `locked`.
    """
    with locked(serving_dir, timeout_s=timeout_s):
        _remove_leftovers(serving_dir)
        yield


@contextlib.contextmanager
def locked(serving_dir: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the lock of an existing serving directory.

    The lock file stays: removing it would let two processes lock two files of the same name.

    Raises:
        ServingDirError: another process still held it after `timeout_s` seconds.
    """
    path = serving_dir / LOCK_NAME
    lock = open_descriptor(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, max_bytes=None)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(lock, timeout_s=timeout_s))
        except AlreadyLocked:
            raise ServingDirError(
                f"another process that changes the serving directory has held {path} for more "
                f"than {timeout_s:g} s: wait until it ends, and try again"
            ) from None
        yield


@contextlib.contextmanager
def staging_in(serving_dir: Path) -> Iterator[Path]:
    """Gives a hidden path for a new version's files; what is still there afterwards is removed."""
    staging = serving_dir / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def add_version(
    staging: Path,
    files: Mapping[str, FileRecord],
    release: Mapping[str, object],
    now: Callable[[], datetime],
) -> Path:
    """Makes the files in a staging directory the newest version; to be called with the lock held.

    Args:
        staging: what `staging_in` gave, with the files, synced to disk.
        files: their records.
        release: JSON object for the manifest.
        now: the clock for `published_at`.

    Returns:
        The version's directory.

    Raises:
        ServingDirError: the numbers are used up; or, where the message says that the version is in
            place, the last sync failed.
        OSError: no version was added.
    """
    serving_dir = staging.parent
    number = _next_number(serving_dir)
    published_at = now().astimezone(timezone.utc).isoformat(timespec="seconds")
    manifest = Manifest(number, published_at, digest_of_records(files), files, release)
    text = manifest.to_json()
    _require_readable(text)
    write_durably(staging / MANIFEST_NAME, text)
    target = serving_dir / str(number)
    os.rename(staging, target)
    try:
        sync_directory(serving_dir)
    except OSError as error:
        raise ServingDirError(
            f"version {number} is complete and in place at {target}, but a power cut may undo it, "
            f"since {serving_dir} could not be synced to disk: {explain(error)}"
        ) from error
    return target


def _require_readable(manifest: str) -> None:
    """Refuses to publish what would be a damaged version from its first moment on."""
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise ServingDirError(
            f"the manifest has {len(manifest):,} bytes, expected at most {MAX_MANIFEST_BYTES:,}: "
            "give a model of fewer files, or a smaller release record"
        )
    try:
        Manifest.from_json(manifest)
    except ValueError as error:
        raise ServingDirError(
            f"the manifest could not be read again: {error}; give another release record"
        ) from error


def _next_number(serving_dir: Path) -> int:
    newest = live(serving_dir)
    if newest is None:
        return 1
    if newest.number == INT64_MAX:
        raise ServingDirError(
            f"{newest.path} has the highest number that TensorFlow Serving can read: move it away"
        )
    return newest.number + 1


def _remove_leftovers(serving_dir: Path) -> None:
    """Removes what killed processes left; what cannot be removed costs space and nothing else."""
    with os.scandir(serving_dir) as entries:
        leftovers = [
            Path(entry)
            for entry in entries
            if entry.name.startswith((STAGING_PREFIX, REMOVED_PREFIX))
        ]
    for leftover in leftovers:
        _log.info("removing what an interrupted change left: %s", leftover)
        try:
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        except OSError as error:
            _log.warning("cannot remove %s: %s", leftover, explain(error))
