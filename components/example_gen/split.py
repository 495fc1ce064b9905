"""Reads a split of Examples back, as ExampleGen wrote it.

Synopsis::

    rows, digest = digest_split(files, image_shape=(28, 28, 1))
    for images, labels in read_split(files, image_shape=(28, 28, 1)):
        images.shape, labels.shape       # ((1000, 28, 28, 1), (1000,))
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
    batches = read_split(files, image_shape=image_shape)
    hashes = [hash_examples(images, labels)[1] for images, labels in batches]
    examples = np.concatenate(hashes)  # [N, 32]
    return len(examples), digest_of(examples)


def read_split(
    files: Sequence[str], *, image_shape: tuple[int, int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(images [n, H, W, C] uint8, labels [n] int64) of one split, batch by batch.

    Args and Raises are those of `digest_split`.
    """
    keys = ImageAndLabel(features.IMAGE, features.LABEL, image_shape, ())
    dataset = tf.data.TFRecordDataset(list(files), compression_type=_COMPRESSION)
    for serialized in dataset.batch(records.BATCH_ROWS):
        labels, pngs = records.parse(serialized, keys)
        yield records.decode(pngs, image_shape), labels
