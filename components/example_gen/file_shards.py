"""The shards of a data set of image files: which files each holds, and how it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.example_gen.data_error import DataError
from components.example_gen.encoded import BrokenImage
from components.example_gen.example_facts import HASH_BYTES
from components.example_gen.file_reading import read_stored
from components.example_gen.image_set import TEST, TRAIN, Shard, SourceRows
from components.example_gen.listing import Listing
from trainer.host.text import printable

_ROWS_PER_SHARD = 1000
_BYTES_PER_SHARD = 64 << 20
_ROWS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class FileShard(Shard):
    """Up to 1,000 files, or 64 MiB of them.

    Attributes:
      files: compressed JSON: their paths, labels and further features.
      digest: hexadecimal SHA-256 over the SHA-256 of each file.
    """

    files: bytes
    digest: str

    def unpacked(self) -> dict[str, Any]:
        """Returns what `files` holds."""
        unpacked: dict[str, Any] = json.loads(zlib.decompress(self.files))
        return unpacked

    def place(self, row: int | None = None) -> str:
        """Names the file of a row."""
        return super().place() if row is None else printable(self.unpacked()["paths"][row])

    def labelled_paths(self, rows: Sequence[int]) -> list[tuple[str, int]]:
        """Returns path and label of some rows."""
        files = self.unpacked()
        return [(files["paths"][row], files["labels"][row]) for row in rows]


def make_shards(listing: Listing, seen: np.ndarray, is_test: np.ndarray) -> tuple[FileShard, ...]:
    """Divides files, whose [N] SEEN are given, into the shards of train and of test."""
    shards = []
    for split, chosen in ((TRAIN, ~is_test), (TEST, is_test)):
        rows = np.flatnonzero(chosen)
        for index, part in enumerate(_parts(rows, seen["num_bytes"][rows])):
            some = listing.taken(part)
            files = {
                "paths": some.paths,
                "labels": some.labels.tolist(),
                "extra": {
                    name: [values.tolist(), values.dtype.str] for name, values in some.extra.items()
                },
            }
            packed = zlib.compress(json.dumps(files).encode())
            digest = hashlib.sha256(seen["digest"][part].tobytes()).hexdigest()
            shards.append(FileShard(split, index, len(part), packed, digest))
    return tuple(shards)


def _parts(rows: np.ndarray, num_bytes: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts rows into parts of at most 1,000, and of 64 MiB unless one file alone is larger."""
    ends = np.cumsum(num_bytes)
    start = 0
    while start < len(rows):
        before = ends[start] - num_bytes[start]
        fitting = int(np.searchsorted(ends, before + _BYTES_PER_SHARD, "right"))
        end = min(max(fitting, start + 1), start + _ROWS_PER_SHARD)
        yield rows[start:end]
        start = end


@dataclasses.dataclass(frozen=True)
class FileReader:
    """Reads the shards of the files below a directory; `source` names the data set in messages."""

    root: Path
    source: str

    def __call__(self, shard: Shard) -> Iterator[SourceRows]:
        """Yields the rows in batches; raises DataError if a file has changed since it was seen."""
        assert isinstance(shard, FileShard)
        files = shard.unpacked()
        paths, labels = files["paths"], np.asarray(files["labels"], np.int64)
        extra = {name: np.asarray(*packed) for name, packed in files["extra"].items()}
        digest = hashlib.sha256()
        found = self._read(paths)
        for start in range(0, len(paths), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            images = np.empty(len(paths[part]), object)
            hashes = np.empty((len(images), HASH_BYTES), np.uint8)
            for row, (of_file, image) in enumerate(itertools.islice(found, len(images))):
                hashes[row] = np.frombuffer(of_file, np.uint8)
                images[row] = image
            digest.update(hashes.tobytes())
            given = {name: values[part] for name, values in extra.items()}
            yield SourceRows(labels[part], images, extra=given, file_hashes=hashes)
        if digest.hexdigest() != shard.digest:
            raise DataError(f"{self.source} has changed since the run began; start it again")

    def _read(self, paths: list[str]) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from read_stored(self.root, paths)
        except (OSError, BrokenImage) as error:
            raise DataError(
                f"{self.source} has changed since the run began: {error}; start it again"
            ) from error
