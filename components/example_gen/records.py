"""Reads one shard of a prepared builder in batches: PNG bytes untouched, pixels decoded beside them.

    for batch in read_shard(builder, shard, source):
        batch.labels, batch.examples        # [n] int64, n serialized tf.Examples
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_datasets as tfds
from tfx_bsl.coders import example_coder

from components.example_gen.content import Hashes, hash_examples
from components.example_gen.features import ImageAndLabel
from trainer import features

BATCH_ROWS = 1000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 26  # signature, IHDR's length and name, width, height, depth, colour type
_PNG_SIZED_BYTES = 24  # as far as the height
# Colour type -> channels (PNG specification, section 11.2.2). A palette decodes to any number.
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PNG_PALETTE = 3
_MAX_BIT_DEPTH = 8

_KEPT_ERROR_CHARACTERS = 160


@dataclasses.dataclass(frozen=True)
class Shard:
    """One prepared file of one of the source's splits, and the rows that it is said to hold."""

    split: str
    index: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some successive rows of a shard.

    Attributes:
      shard: where they come from.
      start: the number of the first one within the shard.
      labels: [n] int64.
      image_hashes: [n, 32] uint8, of the pixels.
      example_hashes: [n, 32] uint8, of label and pixels.
      pixel_sums: [n] int64, over all pixels and channels.
      examples: n serialized tf.Examples; empty where only the facts are carried on.
      problems: why this shard cannot be used, each a line; rows may be missing then.
    """

    shard: Shard
    start: int
    labels: np.ndarray
    image_hashes: Hashes
    example_hashes: Hashes
    pixel_sums: np.ndarray
    examples: list[bytes]
    problems: tuple[str, ...] = ()

    def without_examples(self) -> Batch:
        return dataclasses.replace(self, examples=[])


def failed(shard: Shard, *problems: str) -> Batch:
    """A batch without rows that carries the reasons."""
    none = np.zeros(0, np.int64)
    hashes = np.zeros((0, 32), np.uint8)
    return Batch(shard, 0, none, hashes, hashes, none, [], problems)


def read_shard(
    builder: tfds.core.DatasetBuilder, shard: Shard, source: ImageAndLabel
) -> Iterator[Batch]:
    """Reads and checks one shard; a bad one ends in a batch that says why.

    Problems are values and not exceptions: an exception loses its type on its way through Beam.
    """
    start = 0
    try:
        for values in _dataset(builder, shard, source).as_numpy_iterator():
            problems = _problems(values, shard, start, source)
            if problems:
                yield failed(shard, *problems)
                return
            yield _batch(values, shard, start, source.image_shape)
            start += len(values["label"])
    except (tf.errors.OpError, OSError) as error:
        yield failed(
            shard,
            f"{_place(shard)} cannot be read after row {start}: "
            f"{str(error).strip().splitlines()[0][:_KEPT_ERROR_CHARACTERS]}; "
            f"remove {builder.data_dir} to have it prepared again",
        )
        return
    if start != shard.rows:
        yield failed(
            shard,
            f"{_place(shard)} holds {start:,} rows, expected the {shard.rows:,} that the set "
            f"declares; remove {builder.data_dir} to have it prepared again",
        )


def _dataset(
    builder: tfds.core.DatasetBuilder, shard: Shard, source: ImageAndLabel
) -> tf.data.Dataset:
    """Batches of "label", "png", "header" and "pixels"; the pixels are zero for a wrong size."""
    keys = {source.image_key: True, source.label_key: True}
    skip = {source.image_key: tfds.decode.SkipDecoding()}
    rows = builder.as_dataset(
        split=f"{shard.split}[{shard.index}shard]",
        decoders=tfds.decode.PartialDecoding(keys, decoders=skip),
        # Counted here instead: the error would not say which shard is short.
        read_config=tfds.ReadConfig(try_autocache=False, assert_cardinality=False),
    )
    sized = _sized_header(source.image_shape)
    channels = source.image_shape[2]
    blank = tf.io.encode_png(tf.zeros(source.image_shape, tf.uint8))

    def with_pixels(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        png = row[source.image_key]  # [] string
        is_sized = tf.strings.substr(png, 0, _PNG_SIZED_BYTES) == sized
        pixels = tf.io.decode_png(tf.where(is_sized, png, blank), channels=channels)
        return {
            "label": tf.cast(row[source.label_key], tf.int64),
            "png": png,
            "header": tf.strings.substr(png, 0, _PNG_HEADER_BYTES),
            "pixels": tf.ensure_shape(pixels, source.image_shape),  # [H, W, C] uint8
        }

    return rows.map(with_pixels, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH_ROWS).prefetch(1)


def _sized_header(image_shape: tuple[int, int, int]) -> bytes:
    height, width, _ = image_shape
    return _PNG_SIGNATURE + struct.pack(">I4sII", 13, b"IHDR", width, height)


def _problems(
    values: dict[str, Any], shard: Shard, start: int, source: ImageAndLabel
) -> list[str]:
    labels, classes = values["label"], len(source.class_names)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        return [
            f"label {labels[wrong[0]]} in {_place(shard, start + int(wrong[0]))} is out of range, "
            f"expected 0 to {classes - 1}"
        ]
    for row, header in enumerate(values["header"]):
        problem = png_problem(header, source.image_shape)
        if problem:
            return [f"the image in {_place(shard, start + row)} {problem}"]
    return []


def png_problem(header: bytes, image_shape: tuple[int, int, int]) -> str:
    """Why an image with these first 26 bytes is not a PNG of this shape; empty when it is one."""
    if not header.startswith(_PNG_SIGNATURE):
        return "is not stored as PNG, expected PNG, which is passed through unchanged"
    if len(header) < _PNG_HEADER_BYTES:
        return "is a PNG cut short inside its header, expected a whole one"
    width, height, depth, colour = struct.unpack_from(">IIBB", header, 16)
    channels = image_shape[2] if colour == _PNG_PALETTE else _PNG_CHANNELS.get(colour, 0)
    if (height, width, channels) != image_shape:
        return (
            f"is {height}x{width}x{channels}, expected {'x'.join(map(str, image_shape))}: "
            "images of differing shapes cannot be used"
        )
    if depth > _MAX_BIT_DEPTH:
        return f"has {depth} bits per channel, expected at most {_MAX_BIT_DEPTH}"
    return ""


def _place(shard: Shard, row: int | None = None) -> str:
    at = "" if row is None else f"row {row} of "
    return f"{at}shard {shard.index} of split {shard.split!r}"


def _batch(
    values: dict[str, Any], shard: Shard, start: int, image_shape: tuple[int, int, int]
) -> Batch:
    labels, pixels = values["label"], values["pixels"]  # [n], [n, H, W, C] uint8
    image_hashes, example_hashes = hash_examples(pixels, labels)
    sums = pixels.reshape(len(labels), -1).sum(axis=1, dtype=np.int64)
    return Batch(
        shard=shard,
        start=start,
        labels=labels,
        image_hashes=image_hashes,
        example_hashes=example_hashes,
        pixel_sums=sums,
        examples=encode_examples(values["png"], labels, sums, image_shape),
    )


def encode_examples(
    pngs: np.ndarray, labels: np.ndarray, pixel_sums: np.ndarray, image_shape: tuple[int, int, int]
) -> list[bytes]:
    """Serialized tf.Examples, n of them, by tfx_bsl's C++ encoder.

    Args:
      pngs: [n] bytes objects.
      labels: [n] int64.
      pixel_sums: [n] int64.
      image_shape: (height, width, channels).
    """
    rows = len(labels)
    white = 255 * int(np.prod(image_shape))
    height, width, channels = (np.full(rows, size, np.int64) for size in image_shape)
    columns = {
        features.IMAGE: pa.array(pngs, pa.binary()),
        features.LABEL: pa.array(labels, pa.int64()),
        features.HEIGHT: pa.array(height),
        features.WIDTH: pa.array(width),
        features.CHANNELS: pa.array(channels),
        features.MEAN_INTENSITY: pa.array((pixel_sums / white).astype(np.float32)),
    }
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32))  # one value per example and feature
    lists = [pa.ListArray.from_arrays(offsets, column) for column in columns.values()]
    batch = pa.RecordBatch.from_arrays(lists, names=list(columns))
    return list(example_coder.RecordBatchToExamplesEncoder().encode(batch))
