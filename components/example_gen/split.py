"""Reads a split of Examples back, as ExampleGen wrote it.

Synopsis::

    rows, digest = digest_split(files, image_shape=(28, 28, 1))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from components.example_gen import records
from components.example_gen.content import digest_of, hash_examples
from components.example_gen.features import ImageAndLabel
from trainer import features

_COMPRESSION = "GZIP"


def digest_split(files: Sequence[str], *, image_shape: tuple[int, int, int]) -> tuple[int, str]:
    """(number of examples, their digest) of one split, see `content.digest_of`.

    Args:
      files: gzipped TFRecord files of tf.Example, at least one.
      image_shape: (height, width, channels).

    Raises:
      tf.errors.OpError: a file or an image in it cannot be read.
    """
    hashes = [
        hash_examples(records.decode(pngs, image_shape), labels)[1]
        for labels, pngs in _batches(files, image_shape)
    ]
    examples = np.concatenate(hashes)  # [N, 32]
    return len(examples), digest_of(examples)


def _batches(
    files: Sequence[str], image_shape: tuple[int, int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(labels [n] int64, PNG images [n] bytes objects), batch by batch."""
    keys = ImageAndLabel(features.IMAGE, features.LABEL, image_shape, ())
    dataset = tf.data.TFRecordDataset(list(files), compression_type=_COMPRESSION)
    for serialized in dataset.batch(records.BATCH_ROWS):
        yield records.parse(serialized, keys)
