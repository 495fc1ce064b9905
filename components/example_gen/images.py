"""Images of examples: read from a source and checked, made into tf.Examples, and read back."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.example_gen.example_facts import digest_of, hash_examples
from components.example_gen.image_set import ImageSet, Shard
from components.example_gen.sources import DataError
from trainer import features

BATCH_ROWS = 1000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 26  # signature, IHDR's length and name, width, height, depth, colour type
# Colour type -> channels (PNG specification, section 11.2.2). A palette decodes to any number.
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PNG_PALETTE = 3
_MAX_BIT_DEPTH = 8

_DECODED_AT_ONCE = 64
_COMPRESSION = "GZIP"


def read_rows(
    image_set: ImageSet, shard: Shard
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields PNG images ([n] bytes objects), labels ([n] int64) and pixels ([n, H, W, C] uint8).

    A DataError says why the shard cannot be used; some rows may have been yielded before.
    """
    start = 0
    for rows in image_set.read(shard):
        labels, images, pixels = rows.labels, rows.images, rows.pixels
        _require_labels(labels, shard, start, image_set.info.num_classes)
        if images is None:
            images = tf.io.encode_png(pixels).numpy()
        if pixels is None:
            pixels = _decode_checked(images, shard, start, image_set.info.image_shape)
        yield images, labels, pixels
        start += len(labels)
    if start != shard.rows:
        raise DataError(
            f"{place_of(shard)} holds {start:,} rows, expected the {shard.rows:,} that the set "
            f"declares; {image_set.remedy}"
        )


def read_arrays(image_set: ImageSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole split of a source: images [N, H, W, C] uint8 and labels [N] int64."""
    rows = [each for shard in image_set.shards_of(split) for each in read_rows(image_set, shard)]
    _, labels, pixels = map(np.concatenate, zip(*rows, strict=True))
    return pixels, labels


def place_of(shard: Shard, row: int | None = None) -> str:
    """Names a shard, or a row of it, in a message."""
    at = "" if row is None else f"row {row} of "
    return f"{at}shard {shard.index} of split {shard.split!r}"


def _require_labels(labels: np.ndarray, shard: Shard, start: int, classes: int) -> None:
    for row in np.flatnonzero((labels < 0) | (labels >= classes)):
        raise DataError(
            f"label {labels[row]} in {place_of(shard, start + int(row))} is out of range, expected "
            f"0 to {classes - 1}"
        )


def _decode_checked(
    images: np.ndarray, shard: Shard, start: int, image_shape: tuple[int, int, int]
) -> np.ndarray:
    """Decodes n PNG images to [n, H, W, C] uint8; a DataError names the first bad one."""
    headers = [image[:_PNG_HEADER_BYTES] for image in images]
    problems = {header: png_problem(header, image_shape) for header in set(headers)}
    for row, header in enumerate(headers):
        if problems[header]:
            raise DataError(f"the image in {place_of(shard, start + row)} {problems[header]}")
    try:
        return decode(images, image_shape)
    except tf.errors.InvalidArgumentError:
        for row in range(len(images)):
            try:
                decode(images[row : row + 1], image_shape)
            except tf.errors.InvalidArgumentError as error:
                place = place_of(shard, start + row)
                raise DataError(
                    f"the image in {place} cannot be decoded, expected a PNG"
                ) from error
        raise


def png_problem(header: bytes, image_shape: tuple[int, int, int]) -> str:
    """Says why an image with these first 26 bytes is not a PNG of this shape; "" if it is one."""
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


@functools.cache
def _decoder(image_shape: tuple[int, int, int]) -> tf.types.experimental.PolymorphicFunction:
    """Returns a function that decodes [n] PNGs to [n, H, W, C] uint8, traced once per shape."""

    def decode_one(png: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(png, channels=image_shape[2])
        return tf.ensure_shape(pixels, image_shape)  # [H, W, C] uint8

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode_all(pngs: tf.Tensor) -> tf.Tensor:
        signature = tf.TensorSpec(image_shape, tf.uint8)
        # TensorFlow would place the loop on a GPU, which copies image by image.
        with tf.device("CPU:0"):
            return tf.map_fn(
                decode_one,
                pngs,
                fn_output_signature=signature,
                parallel_iterations=_DECODED_AT_ONCE,
            )

    return decode_all


def decode(pngs: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Decodes n PNG images of this shape to [n, H, W, C] uint8."""
    return _decoder(image_shape)(pngs).numpy()


def mean_intensities(pixel_sums: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Turns sums of pixels, [n] int64, into mean intensities, [n] float32, 0 to 1 (white)."""
    white = 255 * int(np.prod(image_shape))
    return (pixel_sums / white).astype(np.float32)


def encode_examples(
    pngs: np.ndarray, labels: np.ndarray, pixel_sums: np.ndarray, image_shape: tuple[int, int, int]
) -> list[bytes]:
    """Serializes n tf.Examples of PNG images ([n] bytes objects) by tfx_bsl's C++ encoder."""
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


def parse_records(
    records: tf.Tensor, image_key: str, label_key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Parses n serialized tf.Examples to PNG images ([n] bytes objects) and labels ([n] int64)."""
    values = tf.io.parse_example(
        records,
        {
            image_key: tf.io.FixedLenFeature([], tf.string),
            label_key: tf.io.FixedLenFeature([], tf.int64),
        },
    )
    return values[image_key].numpy(), values[label_key].numpy()


def read_examples(split_uri: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads the directory of a split that ExampleGen wrote.

    Yields serialized examples and PNG images, [n] bytes objects each, and labels, [n] int64.
    """
    files = sorted(os.path.join(split_uri, name) for name in tf.io.gfile.listdir(split_uri))
    for records in tf.data.TFRecordDataset(files, compression_type=_COMPRESSION).batch(BATCH_ROWS):
        yield records.numpy(), *parse_records(records, features.IMAGE, features.LABEL)


def read_split(
    split_uri: str, *, image_shape: tuple[int, int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images [n, H, W, C] uint8 and labels [n] int64, as `read_examples`."""
    for _, pngs, labels in read_examples(split_uri):
        yield decode(pngs, image_shape), labels


def digest_split(split_uri: str, *, image_shape: tuple[int, int, int]) -> str:
    """Returns the digest of all examples, see `example_facts.digest_of`; as `read_examples`."""
    batches = read_split(split_uri, image_shape=image_shape)
    return digest_of(np.concatenate([hash_examples(*batch)[1] for batch in batches]))  # [N, 32]
