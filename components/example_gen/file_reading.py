"""Reads image files in parallel threads: once to look at all of them, and again to store them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.example_gen.encoded import (
    HEAD_BYTES,
    BrokenImage,
    is_image,
    is_named_as_image,
    look_at,
    storable,
)
from components.example_gen.seen_images import BROKEN, NO_IMAGE, SEEN, seen_of
from trainer.host.files import open_regular

MAX_FILE_BYTES = 256 << 20

_FILES_AT_ONCE = 256  # of one thread, so that a million files make no million tasks
_MAX_THREADS = 32
_MOST_REASONS = 10


def look_at_files(
    root: Path, paths: Sequence[str], *, listed_only: bool
) -> tuple[np.ndarray, list[str]]:
    """Reads and decodes each file once: [N] SEEN, and of the first ten broken ones why they are.

    A file that neither is an image nor bears the name of one is BROKEN if `listed_only`.
    """

    def look(start: int) -> tuple[np.ndarray, list[str]]:
        return _look_at_some(root, paths[start : start + _FILES_AT_ONCE], listed_only)

    seen, reasons = [np.empty(0, SEEN)], list[str]()
    # Pillow warns of odd metadata and large images. The filters are those of the whole process.
    with warnings.catch_warnings(), _pool() as pool:
        warnings.simplefilter("ignore")
        for some, why in pool.map(look, range(0, len(paths), _FILES_AT_ONCE)):
            seen.append(some)
            reasons += why[: _MOST_REASONS - len(reasons)]
    return np.concatenate(seen), reasons


def _look_at_some(
    root: Path, paths: Sequence[str], listed_only: bool
) -> tuple[np.ndarray, list[str]]:
    seen = np.zeros(len(paths), SEEN)
    reasons = []
    for row, path in enumerate(paths):
        try:
            content = _read(root / path, images_only=True)
            seen[row] = seen_of(content, look_at(content))
        except (OSError, BrokenImage) as error:
            is_image_inside = isinstance(error, BrokenImage) and not isinstance(error, _NoImage)
            is_broken = listed_only or is_named_as_image(path) or is_image_inside
            seen["state"][row] = BROKEN if is_broken else NO_IMAGE
            if is_broken:
                reasons.append(f"{path} ({getattr(error, 'strerror', None) or error})")
    return seen, reasons


class _NoImage(BrokenImage):
    """A file that begins like no image."""


def _read(path: Path, *, images_only: bool = False) -> bytes:
    with open_regular(path, max_bytes=MAX_FILE_BYTES) as file:
        head = file.read(HEAD_BYTES)
        if images_only and not is_image(head):
            raise _NoImage("is no PNG, JPEG, WebP, BMP or GIF")
        return head + file.read()


def read_stored(root: Path, paths: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yields of each file the SHA-256 and the bytes to store, see `encoded.storable`.

    Raises OSError or BrokenImage if a file is no longer what it was.
    """

    def read(path: str) -> tuple[bytes, bytes]:
        content = _read(root / path)
        digest = hashlib.sha256(content).digest()
        try:
            return digest, storable(content)
        except Exception as error:  # Pillow raises errors of many kinds on damaged files
            raise BrokenImage(f"{path}: {error}") from error

    with _pool() as pool:
        yield from pool.map(read, paths)


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MAX_THREADS, 2 * (os.cpu_count() or 1)))
