"""Reads a shard of a prepared builder in batches: PNG bytes untouched, pixels decoded beside.

Synopsis::

    for batch in read_shard(builder, shard, source):
        batch.labels, batch.examples        # [n] int64, n serialized tf.Examples
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_datasets as tfds
from tfx_bsl.coders import example_coder

from components.example_gen.content import Hashes, hash_examples
from components.example_gen.errors import DataError
from components.example_gen.features import ImageAndLabel
from trainer import features

BATCH_ROWS = 1000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 26  # signature, IHDR's length and name, width, height, depth, colour type
# Colour type -> channels (PNG specification, section 11.2.2). A palette decodes to any number.
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PNG_PALETTE = 3
_MAX_BIT_DEPTH = 8

_DECODED_AT_ONCE = 64
_KEPT_ERROR_CHARACTERS = 160


@dataclasses.dataclass(frozen=True)
class Shard:
    """One prepared file of one of the source's splits, and the rows that it is said to hold."""

    split: str
    index: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some successive rows of a shard, as they are stored and decoded.

    Attributes:
      start: the number of the first one within the shard.
      labels: [n] int64.
      pngs: [n] bytes objects.
      pixels: [n, H, W, C] uint8.
    """

    start: int
    labels: np.ndarray
    pngs: np.ndarray
    pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Batch:
    """What is made of some successive rows of a shard.

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


def shards_of(builder: tfds.core.DatasetBuilder, split: str) -> list[Shard]:
    """The prepared files of one of the source's splits."""
    lengths = builder.info.splits[split].shard_lengths
    return [Shard(split, index, rows) for index, rows in enumerate(lengths)]


def read_shard(
    builder: tfds.core.DatasetBuilder, shard: Shard, source: ImageAndLabel
) -> Iterator[Batch]:
    """Reads and checks one shard; a bad one ends in a batch that says why.

    Problems are values and not exceptions: an exception loses its type on its way through Beam.
    """
    try:
        for rows in read_rows(builder, shard, source):
            yield _batch(shard, rows)
    except DataError as problem:
        yield failed(shard, str(problem))


def read_rows(
    builder: tfds.core.DatasetBuilder, shard: Shard, source: ImageAndLabel
) -> Iterator[Rows]:
    """Reads and checks one shard.

    The file itself is read, and not `builder.as_dataset`: with parsing and decoding a batch at a
    time, not a row at a time, MNIST costs 1.9 s of processor time in place of 4.6 s.

    Raises:
      DataError: it cannot be used; some of its rows may have been given before.
    """
    start = 0
    path = builder.info.splits[shard.split].filepaths[shard.index]
    again = f"remove {builder.data_dir} to have it prepared again"
    try:
        for records in tf.data.TFRecordDataset([str(path)]).batch(BATCH_ROWS):
            labels, pngs = parse(records, source)
            if problem := _first_problem(labels, pngs, shard, start, source):
                raise DataError(problem)
            try:
                pixels = decode(pngs, source.image_shape)  # [n, H, W, C] uint8
            except tf.errors.InvalidArgumentError:
                raise DataError(_undecodable(pngs, shard, start, source.image_shape)) from None
            yield Rows(start, labels, pngs, pixels)
            start += len(labels)
    except (tf.errors.OpError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:_KEPT_ERROR_CHARACTERS]
        raise DataError(
            f"{_place(shard)} cannot be read after row {start}: {reason}; {again}"
        ) from error
    if start != shard.rows:
        raise DataError(
            f"{_place(shard)} holds {start:,} rows, expected the {shard.rows:,} that the set "
            f"declares; {again}"
        )


def parse(records: tf.Tensor, source: ImageAndLabel) -> tuple[np.ndarray, np.ndarray]:
    """Labels ([n] int64) and PNG images ([n] bytes objects) of n records ([n] string)."""
    values = tf.io.parse_example(
        records,
        {
            source.image_key: tf.io.FixedLenFeature([], tf.string),
            source.label_key: tf.io.FixedLenFeature([], tf.int64),
        },
    )
    return values[source.label_key].numpy(), values[source.image_key].numpy()


@functools.cache
def _decoder(image_shape: tuple[int, int, int]) -> tf.types.experimental.PolymorphicFunction:
    """[n] PNG images -> [n, H, W, C] uint8; traced once per process and shape."""

    def decode_one(png: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(png, channels=image_shape[2])
        return tf.ensure_shape(pixels, image_shape)  # [H, W, C] uint8

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(pngs: tf.Tensor) -> tf.Tensor:
        signature = tf.TensorSpec(image_shape, tf.uint8)
        # TensorFlow would place the loop on a GPU, which copies image by image.
        with tf.device("CPU:0"):
            return tf.map_fn(
                decode_one,
                pngs,
                fn_output_signature=signature,
                parallel_iterations=_DECODED_AT_ONCE,
            )

    return decode


def decode(pngs: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """[n] PNG images of this shape -> [n, H, W, C] uint8."""
    return _decoder(image_shape)(pngs).numpy()


def _first_problem(
    labels: np.ndarray, pngs: np.ndarray, shard: Shard, start: int, source: ImageAndLabel
) -> str:
    """Why these rows cannot be used; empty when they can."""
    classes = len(source.class_names)
    for row in np.flatnonzero((labels < 0) | (labels >= classes)):
        place = _place(shard, start + int(row))
        return f"label {labels[row]} in {place} is out of range, expected 0 to {classes - 1}"
    headers = [png[:_PNG_HEADER_BYTES] for png in pngs]
    problems = {header: png_problem(header, source.image_shape) for header in set(headers)}
    for row, header in enumerate(headers):
        if problems[header]:
            return f"the image in {_place(shard, start + row)} {problems[header]}"
    return ""


def _undecodable(
    pngs: np.ndarray, shard: Shard, start: int, image_shape: tuple[int, int, int]
) -> str:
    """Which of these images does not decode; they are tried one by one."""
    for row in range(len(pngs)):
        try:
            decode(pngs[row : row + 1], image_shape)
        except tf.errors.InvalidArgumentError:
            return f"the image in {_place(shard, start + row)} cannot be decoded, expected a PNG"
    return ""


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


def _batch(shard: Shard, rows: Rows) -> Batch:
    image_hashes, example_hashes = hash_examples(rows.pixels, rows.labels)
    pixel_sums = sums_of(rows.pixels)
    return Batch(
        shard=shard,
        start=rows.start,
        labels=rows.labels,
        image_hashes=image_hashes,
        example_hashes=example_hashes,
        pixel_sums=pixel_sums,
        examples=encode_examples(rows.pngs, rows.labels, pixel_sums, _image_shape(rows.pixels)),
    )


def sums_of(pixels: np.ndarray) -> np.ndarray:
    """[n, H, W, C] uint8 -> [n] int64, over all pixels and channels."""
    return pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.int64)


def mean_intensities(pixel_sums: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """[n] int64 -> [n] float32, 0 (black) to 1 (white), as an example holds it."""
    white = 255 * int(np.prod(image_shape))
    return (pixel_sums / white).astype(np.float32)


def _image_shape(pixels: np.ndarray) -> tuple[int, int, int]:
    height, width, channels = pixels.shape[1:]
    return height, width, channels


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
    height, width, channels = (np.full(rows, size, np.int64) for size in image_shape)
    columns = {
        features.IMAGE: pa.array(pngs, pa.binary()),
        features.LABEL: pa.array(labels, pa.int64()),
        features.HEIGHT: pa.array(height),
        features.WIDTH: pa.array(width),
        features.CHANNELS: pa.array(channels),
        features.MEAN_INTENSITY: pa.array(mean_intensities(pixel_sums, image_shape)),
    }
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32))  # one value per example and feature
    lists = [pa.ListArray.from_arrays(offsets, column) for column in columns.values()]
    batch = pa.RecordBatch.from_arrays(lists, names=list(columns))
    return list(example_coder.RecordBatchToExamplesEncoder().encode(batch))
