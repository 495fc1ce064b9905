"""Examples on their way from the source to the files of the splits: staged in files of their own.

Only references to them pass through Beam, so that no runner holds images in memory::

    staged = stage("train", 0, 0, facts, examples, files=8, directory=directory)
    rows, examples = staged.of_file(3)      # [n] ROWS, and n serialized tf.Examples
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.example_gen.example_facts import FACTS

# The facts of an example, where it came from (shard and row of a split of the source), and where
# its bytes begin in the staged file.
ROWS = np.dtype(
    [
        *FACTS.descr,
        ("shard", np.int64),
        ("row", np.int64),
        ("begin", np.int64),
        ("size", np.int64),
    ]
)


@dataclasses.dataclass(frozen=True)
class Staged:
    """Successive rows of a shard in one file, grouped by the output file that they belong to.

    A group is its ROWS, in the order of the source, and then the bytes of their examples.

    Attributes:
      split: that of the source, whose rows of `eval` stand among those of `train`.
      shard: its index.
      start: the first row of the shard that is here.
      counts: the number of rows of each group.
      bounds: where each group begins, and where the last one ends.
    """

    path: str
    split: str
    shard: int
    start: int
    counts: tuple[int, ...]
    bounds: tuple[int, ...]

    def rows(self) -> npt.NDArray[np.void]:
        """Reads the [n] ROWS of all groups."""
        found = [np.empty(0, ROWS)]
        with tf.io.gfile.GFile(self.path, "rb") as file:
            for begin, count in zip(self.bounds, self.counts, strict=False):
                file.seek(begin)
                found.append(np.frombuffer(file.read(count * ROWS.itemsize), ROWS))
        return np.concatenate(found)

    def of_file(self, number: int) -> tuple[npt.NDArray[np.void], list[bytes]]:
        """Reads a group: [n] ROWS and their examples."""
        begin, end = self.bounds[number : number + 2]
        with tf.io.gfile.GFile(self.path, "rb") as file:
            file.seek(begin)
            content = file.read(end - begin)
        rows = np.frombuffer(content, ROWS, self.counts[number])
        begins = rows["begin"] - begin
        return rows, [
            content[at : at + size]
            for at, size in zip(begins.tolist(), rows["size"].tolist(), strict=True)
        ]

    def own(self, rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Returns those of [n] ROWS of this split that this file holds, in its order."""
        after = rows["row"] - self.start
        rows = rows[(rows["shard"] == self.shard) & (after >= 0) & (after < sum(self.counts))]
        return rows[np.argsort(rows["begin"])]

    def examples(self, rows: npt.NDArray[np.void]) -> list[bytes]:
        """Reads the examples of some [n] ROWS, which stand anywhere in the file."""
        examples = []
        with tf.io.gfile.GFile(self.path, "rb") as file:
            for begin, size in zip(rows["begin"].tolist(), rows["size"].tolist(), strict=True):
                file.seek(begin)
                examples.append(file.read(size))
        return examples


def file_numbers(example_hashes: np.ndarray, files: int) -> npt.NDArray[np.int64]:
    """Returns the output file, of `files`, to which each of [n, 32] uint8 hashes leads."""
    # By bytes 8 to 15. The first ones choose the rows of eval, the smallest hashes, so they are
    # nearly the same in all of those rows.
    spread = np.ascontiguousarray(example_hashes[:, 8:16]).view("<u8").ravel()
    return (spread % np.uint64(files)).astype(np.int64)


def stage(
    split: str,
    shard: int,
    start: int,
    facts: np.ndarray,
    examples: Sequence[bytes],
    *,
    files: int,
    directory: str,
) -> Staged:
    """Writes [n] FACTS and n examples, the rows from `start` of a shard, for `files` files.

    The name is new each time, because a runner may try a step twice.
    """
    numbers = file_numbers(facts["example_hash"], files)
    order = np.argsort(numbers, kind="stable")
    rows = np.empty(len(order), ROWS)
    for name in FACTS.names or ():
        rows[name] = facts[name][order]
    sizes = np.fromiter(map(len, examples), np.int64, len(examples))
    rows["shard"], rows["row"], rows["size"] = shard, start + order, sizes[order]
    counts = np.bincount(numbers, minlength=files)
    last = np.cumsum(counts)  # of each group, and one more
    ends = np.append(0, np.cumsum(rows["size"]))  # of the examples alone
    rows["begin"] = last[numbers[order]] * ROWS.itemsize + ends[:-1]
    bounds = np.append(0, last * ROWS.itemsize + ends[last])
    path = os.path.join(directory, f"{split}-{shard}-{start}-{uuid.uuid4().hex}")
    with tf.io.gfile.GFile(path, "wb") as file:
        for end, count in zip(last.tolist(), counts.tolist(), strict=True):
            group = slice(end - count, end)
            file.write(rows[group].tobytes())
            file.write(b"".join([examples[row] for row in order[group]]))
    return Staged(path, split, shard, start, tuple(counts.tolist()), tuple(bounds.tolist()))
