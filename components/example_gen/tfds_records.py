"""The records of a prepared tensorflow-datasets set: looked at where they must be, and read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.example_gen.data_error import DataError
from components.example_gen.encoded import PNG_SIGNATURE, BrokenImage, look_at, storable
from components.example_gen.image_set import TEST, Shard, SourceRows
from components.example_gen.seen_images import SEEN, falls_on_test, seen_of
from trainer.host.files import require_whole_records
from trainer.host.text import first_line


@dataclasses.dataclass(frozen=True)
class RecordReader:
    """Reads the shards of a set: each is a file of records, or its part in `train` or `test`.

    Attributes:
      paths: files by split, in the order of the shards.
      keys: of the image and of the label.
      remedy: what to do if a file is damaged.
      cut: share of the images that is the split `test`, where the files of both splits are the
        same, see `falls_on_test`.
      is_png: whether all images are stored as PNG; otherwise see `encoded.storable`.
    """

    paths: Mapping[str, Sequence[Path]]
    keys: tuple[str, str]
    remedy: str
    cut: float | None = None
    is_png: bool = True

    def __call__(self, shard: Shard) -> Iterator[SourceRows]:
        """Yields the rows of a shard in batches; raises DataError."""
        for images, labels in self._records(shard):
            if self.cut is not None:
                digests = np.frombuffer(b"".join(map(_sha256, images)), np.uint8).reshape(-1, 32)
                chosen = falls_on_test(digests, self.cut) == (shard.split == TEST)
                images, labels = images[chosen], labels[chosen]
            if not self.is_png:
                images = np.array([_storable(image) for image in images], object)
            yield SourceRows(labels, images)

    def look_at(self, shards: Sequence[Shard]) -> list[np.ndarray]:
        """Reads the headers of all images of whole files: [n] SEEN for each of these."""

        def look(shard: Shard) -> np.ndarray:
            start, seen = 0, [np.empty(0, SEEN)]
            for images, _ in self._records(shard):
                seen.append(_look_at(images, shard, start, self.remedy))
                start += len(images)
            shard.require_rows(start, self.remedy)
            return np.concatenate(seen)

        with ThreadPoolExecutor() as pool:  # TensorFlow releases the interpreter's lock
            return list(pool.map(look, shards))

    def starts_as_png(self, split: str) -> bool:
        """Tells whether the first image of a split is a PNG."""
        for images, _ in self._records(Shard(split, 0, 0)):
            return bool(images[0].startswith(PNG_SIGNATURE))
        return True

    def _records(self, shard: Shard) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields images, [n] bytes objects, and labels, [n] int64, of a file."""
        import tensorflow as tf

        from components.example_gen.images import BATCH_ROWS, parse_records

        path, start = self.paths[shard.split][shard.index], 0
        try:
            require_whole_records(path)
            for records in tf.data.TFRecordDataset([str(path)]).batch(BATCH_ROWS):
                images, labels = parse_records(records, *self.keys)
                yield images, labels
                start += len(labels)
        except (tf.errors.OpError, OSError) as error:
            raise DataError(
                f"{shard.place()} cannot be read after row {start}: {first_line(error)}; "
                f"{self.remedy}"
            ) from error


def _look_at(images: np.ndarray, shard: Shard, start: int, remedy: str) -> np.ndarray:
    seen = np.zeros(len(images), SEEN)
    for row, image in enumerate(images):
        try:
            seen[row] = seen_of(image, look_at(image, whole=False))
        except BrokenImage as error:
            raise DataError(
                f"the image in {shard.place(start + row)} cannot be read ({error}); {remedy}"
            ) from error
    return seen


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _storable(content: bytes) -> bytes:
    try:
        return storable(content)
    except Exception:  # Pillow's errors: whoever decodes the image says where it is
        return content
