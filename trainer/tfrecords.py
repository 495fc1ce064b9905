"""The gzipped TFRecords of a split: counted, and read in parallel by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

_plain = tf.autograph.experimental.do_not_convert  # docs/decisions/0010

_COUNTED_AT_ONCE = 1024
_MOST_READERS = 16  # each keeps some batches in memory


class Records:
    """Examples in the order of their files' names; nothing of them stays in memory."""

    def __init__(self, file_patterns: Sequence[str]) -> None:
        """Counts them; raises ValueError if there is none."""
        self._files = sorted(
            file for pattern in file_patterns for file in tf.io.gfile.glob(pattern)
        )
        self._readers = min(_MOST_READERS, len(os.sched_getaffinity(0)))
        ends = [0]
        for rows in self._counts():
            ends.append(ends[-1] + rows)
        *self._starts, self._rows = ends
        if not self._rows:
            raise ValueError(f"no examples in {', '.join(file_patterns)}: is the split empty?")

    def __len__(self) -> int:
        return self._rows

    def first(self, rows: int) -> tf.Tensor:
        """Returns the first `rows` serialized examples, or all if there are fewer: [B] string."""
        return next(iter(self._read(self._files).batch(rows).take(1)))

    def decoded(
        self, decode: Callable[[tf.Tensor], Sequence[tf.Tensor]], *, batch: int
    ) -> Iterator[tuple[int, Sequence[tf.Tensor]]]:
        """Reads the files and decodes their examples, in parallel.

        Args:
          decode: turns [B] serialized examples into tensors [B, ...].
          batch: the largest B; two or three batches per processor are in memory at a time.

        Yields:
          The row of the first example of each batch, and what `decode` gave. Each row comes once,
          and the batches come in any order.
        """

        @_plain
        def read(file: tf.Tensor, first: tf.Tensor) -> tf.data.Dataset:
            def with_row(number: tf.Tensor, examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return first + number * batch, examples

            return self._read(file).batch(batch).enumerate().map(_plain(with_row))

        @_plain
        def decoded(row: tf.Tensor, examples: tf.Tensor) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
            return row, decode(examples)

        parallel = {"num_parallel_calls": self._readers}
        files = tf.data.Dataset.from_tensor_slices(
            (self._files, tf.constant(self._starts, tf.int64))
        )
        encoded = files.interleave(read, cycle_length=self._readers, **parallel)
        for row, values in encoded.map(decoded, **parallel).prefetch(1):
            yield int(row), values

    def _counts(self) -> Iterator[int]:
        @_plain
        def add(so_far: tf.Tensor, examples: tf.Tensor) -> tf.Tensor:
            return so_far + tf.size(examples, out_type=tf.int64)

        @_plain
        def count(file: tf.Tensor) -> tf.Tensor:
            return self._read(file).batch(_COUNTED_AT_ONCE).reduce(tf.constant(0, tf.int64), add)

        files = tf.data.Dataset.from_tensor_slices(tf.constant(self._files, tf.string))
        yield from map(int, files.map(count, num_parallel_calls=self._readers))

    def _read(self, files: tf.Tensor | Sequence[str]) -> tf.data.TFRecordDataset:
        return tf.data.TFRecordDataset(files, compression_type="GZIP")
