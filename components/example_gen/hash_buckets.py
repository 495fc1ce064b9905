"""The digests of the splits and their overlap, which need the hashes of all examples in order.

The hashes are sorted in buckets that begin with the same bits, each bucket by itself and into files
of its own. So no place holds those of all examples.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.example_gen.example_facts import HASH_BYTES
from components.example_gen.examples_summary import Overlap
from components.example_gen.image_set import TEST

_BITS = 5
_OVERLAP_EXAMPLES = 5
_IMAGE, _EXAMPLE = "image_hash", "example_hash"

Part = tuple[str, str, bytes]  # split, field of FACTS, and hashes, 32 bytes each


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A sorted bucket.

    Attributes:
      paths: by split, the file of its examples' hashes.
      overlap: of its images.
    """

    number: int
    paths: Mapping[str, str]
    overlap: Overlap


def parts_of(split: str, facts: np.ndarray) -> Iterator[tuple[int, Part]]:
    """Yields the hashes of [n] FACTS of a split, each with the number of its bucket."""
    for field in (_IMAGE, _EXAMPLE):
        hashes = np.ascontiguousarray(facts[field])  # [n, 32] uint8
        numbers = hashes[:, 0] >> (8 - _BITS)
        for number in np.unique(numbers).tolist():
            yield number, (split, field, hashes[numbers == number].tobytes())


def sort_bucket(numbered: tuple[int, Iterable[Part]], directory: str) -> Bucket:
    """Sorts all parts of a bucket; the files in `directory` get new names each time."""
    number, parts = numbered
    hashes: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for split, field, content in parts:
        hashes[field, split].append(content)
    paths = {}
    for (field, split), contents in hashes.items():
        if field == _EXAMPLE:
            paths[split] = os.path.join(directory, f"hashes-{number}-{uuid.uuid4().hex}")
            with tf.io.gfile.GFile(paths[split], "wb") as file:
                file.write(np.sort(_keys(contents)).tobytes())
    judged = _keys(hashes.pop((_IMAGE, TEST), ()))
    learned = _keys(
        one for (field, _), contents in hashes.items() if field == _IMAGE for one in contents
    )
    both = judged[np.isin(judged, learned)]
    few = np.unique(both)[:_OVERLAP_EXAMPLES].view(np.uint8).reshape(-1, HASH_BYTES)
    named = tuple(key.tobytes().hex() for key in few)
    return Bucket(number, paths, Overlap(len(both), named, len(judged) - len(np.unique(judged))))


def _keys(contents: Iterable[bytes]) -> npt.NDArray[np.bytes_]:
    """Joins hashes to [n] texts of fixed width, see `example_facts.sortable`."""
    return np.frombuffer(b"".join(contents), f"S{HASH_BYTES}")


def digest(buckets: Sequence[Bucket], split: str) -> str:
    """Returns the digest of a split, see `example_facts.digest_of`."""
    total = hashlib.sha256()
    for bucket in sorted(buckets, key=lambda one: one.number):
        if split in bucket.paths:
            with tf.io.gfile.GFile(bucket.paths[split], "rb") as file:
                total.update(file.read())
    return total.hexdigest()


def overlap(buckets: Sequence[Bucket]) -> Overlap:
    """Adds up the overlap of all buckets."""
    count = sum(bucket.overlap.train_test for bucket in buckets)
    examples = sorted(key for bucket in buckets for key in bucket.overlap.examples)
    repeated = sum(bucket.overlap.within_test for bucket in buckets)
    return Overlap(count, tuple(examples[:_OVERLAP_EXAMPLES]), repeated)
