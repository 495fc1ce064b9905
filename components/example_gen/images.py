"""Images of examples: read from a source and checked, made into tf.Examples, and read back."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.example_gen.data_error import DataError
from components.example_gen.encoded import (
    PNG_CHANNELS,
    PNG_HEADER_BYTES,
    PNG_SIGNATURE,
    stored_shape,
)
from components.example_gen.example_facts import digest_of, hash_examples
from components.example_gen.image_set import ImageSet, Shard, SourceRows
from trainer import features
from trainer.features import ImageSpec
from trainer.image_graph import to_pixels

BATCH_ROWS = 1000

_BATCH_BYTES = 64 << 20  # of the examples of a batch; those of `_ROWS_AT_ONCE` may be more
_ROWS_AT_ONCE = 20
_PNG_PALETTE = 3
_MAX_BIT_DEPTH = 8

_COMPRESSION = "GZIP"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some successive examples.

    Attributes:
      images: [n] bytes objects, encoded.
      labels: [n] int64.
      pixels: [n, H, W, C] uint8, what the network sees.
      stored: [n, 3] int64, (height, width, channels) of the images as stored.
      extra: the further features, [n] each.
      file_hashes: see `SourceRows`.
    """

    images: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray
    stored: np.ndarray
    extra: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    file_hashes: np.ndarray | None = None


def read_rows(image_set: ImageSet, shard: Shard) -> Iterator[Rows]:
    """Reads and checks a shard.

    A DataError says why the shard cannot be used; some rows may have been yielded before.
    """
    start, spec = 0, image_set.info.image_spec
    for rows in image_set.read(shard):
        labels, images, pixels = rows.labels, rows.images, rows.pixels
        _require_images(rows, shard, start)
        _require_labels(labels, shard, start, image_set.info.num_classes)
        stored = np.full((len(labels), 3), spec.image_shape if pixels is None else pixels.shape[1:])
        if images is None:
            images = tf.io.encode_png(pixels).numpy()
        elif spec.resize:
            stored = _stored_shapes(images, shard, start)
        if pixels is None or spec.resize:
            pixels = _decode_checked(images, shard, start, spec)
        yield Rows(images, labels, pixels, stored, rows.extra, rows.file_hashes)
        start += len(labels)
    shard.require_rows(start, image_set.remedy)


def as_seen(rows: Rows) -> Rows:
    """Replaces images by PNG of what the network sees of them, where those are smaller.

    `to_pixels` makes the same pixels of either: a PNG of the network's shape is not resized.
    """
    pngs = tf.io.encode_png(rows.pixels).numpy()
    smaller = [min(pair, key=len) for pair in zip(rows.images, pngs, strict=True)]
    return dataclasses.replace(rows, images=np.array(smaller, object))


def read_arrays(image_set: ImageSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole split of a source: images [N, H, W, C] uint8 and labels [N] int64."""
    rows = [each for shard in image_set.shards_of(split) for each in read_rows(image_set, shard)]
    pixels, labels = zip(*((one.pixels, one.labels) for one in rows), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def _require_images(rows: SourceRows, shard: Shard, start: int) -> None:
    images = rows.images if rows.pixels is None else rows.pixels
    if images is None or len(images) != len(rows.labels):
        found = "none" if images is None else f"{len(images):,}"
        raise DataError(
            f"from {shard.place(start)} on there are {len(rows.labels):,} labels and {found} of "
            "their images, expected as many of both"
        )
    if rows.pixels is not None and rows.pixels.dtype != np.uint8:
        raise DataError(
            f"{shard.place()} has pixels of {rows.pixels.dtype}, expected uint8 from 0 to 255"
        )


def _require_labels(labels: np.ndarray, shard: Shard, start: int, classes: int) -> None:
    for row in np.flatnonzero((labels < 0) | (labels >= classes)):
        raise DataError(
            f"label {labels[row]} in {shard.place(start + int(row))} is out of range, expected "
            f"0 to {classes - 1}"
        )


def _stored_shapes(images: np.ndarray, shard: Shard, start: int) -> np.ndarray:
    """Reads (height, width, channels), [n, 3] int64, of encoded images from their headers."""
    shapes = np.empty((len(images), 3), np.int64)
    for row, image in enumerate(images):
        try:
            shapes[row] = stored_shape(image)
        except ValueError as error:
            raise DataError(f"the image in {shard.place(start + row)} {error}") from error
    return shapes


def _decode_checked(images: np.ndarray, shard: Shard, start: int, spec: ImageSpec) -> np.ndarray:
    """Decodes n images to [n, H, W, C] uint8; a DataError names the first bad one."""
    if not spec.resize:
        headers = [image[:PNG_HEADER_BYTES] for image in images]
        problems = {header: png_problem(header, spec.image_shape) for header in set(headers)}
        for row, header in enumerate(headers):
            if problems[header]:
                raise DataError(f"the image in {shard.place(start + row)} {problems[header]}")
    try:
        return decode(images, spec)
    except tf.errors.InvalidArgumentError:
        formats = "PNG, JPEG, BMP of 24 bits or GIF" if spec.resize else "PNG"
        for row in range(len(images)):
            try:
                decode(images[row : row + 1], spec)
            except tf.errors.InvalidArgumentError as error:
                place = shard.place(start + row)
                raise DataError(
                    f"the image in {place} cannot be decoded, expected a {formats}"
                ) from error
        raise


def png_problem(header: bytes, image_shape: tuple[int, int, int]) -> str:
    """Says why an image with these first 26 bytes is not a PNG of this shape; "" if it is one."""
    if not header.startswith(PNG_SIGNATURE):
        return "is not stored as PNG, expected PNG, which is passed through unchanged"
    if len(header) < PNG_HEADER_BYTES:
        return "is a PNG cut short inside its header, expected a whole one"
    width, height, depth, colour = struct.unpack_from(">IIBB", header, 16)
    channels = image_shape[2] if colour == _PNG_PALETTE else PNG_CHANNELS.get(colour, 0)
    if (height, width, channels) != image_shape:
        return (
            f"is {height}x{width}x{channels}, expected {'x'.join(map(str, image_shape))}: "
            "images of differing shapes cannot be used"
        )
    if depth > _MAX_BIT_DEPTH:
        return f"has {depth} bits per channel, expected at most {_MAX_BIT_DEPTH}"
    return ""


def decode(images: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Decodes n images to what the network sees of them, [n, H, W, C] uint8."""
    return to_pixels(tf.constant(images), spec).numpy()


def features_of(rows: Rows, pixel_sums: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the features of n examples but for the image, by name, [n] each.

    `pixel_sums`, [n] int64, are the sums of their pixels, see `example_facts.sums_of`.
    """
    height, width, channels = rows.stored.T
    white = 255 * math.prod(rows.pixels.shape[1:])
    return {
        features.LABEL: rows.labels,
        features.HEIGHT: height,
        features.WIDTH: width,
        features.CHANNELS: channels,
        features.MEAN_INTENSITY: (pixel_sums / white).astype(np.float32),
        **dict(sorted(rows.extra.items())),
    }


def encode_examples(rows: Rows, pixel_sums: np.ndarray) -> list[bytes]:
    """Serializes n tf.Examples by tfx_bsl's C++ encoder; see `features_of`."""
    columns = {
        features.IMAGE: pa.array(rows.images, pa.binary()),
        **{name: _column(values) for name, values in features_of(rows, pixel_sums).items()},
    }
    count = len(rows.labels)
    offsets = pa.array(np.arange(count + 1, dtype=np.int32))  # one value per example and feature
    lists = [pa.ListArray.from_arrays(offsets, column) for column in columns.values()]
    batch = pa.RecordBatch.from_arrays(lists, names=list(columns))
    return list(example_coder.RecordBatchToExamplesEncoder().encode(batch))


def _column(values: np.ndarray) -> pa.Array:
    if values.dtype.kind in "iuf":
        kind = pa.float32() if values.dtype.kind == "f" else pa.int64()
        return pa.array(values).cast(kind)
    return pa.array([str(value).encode() for value in values], pa.binary())


def parse_records(
    records: tf.Tensor | np.ndarray, image_key: str, label_key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Parses n serialized tf.Examples to images ([n] bytes objects) and labels ([n] int64)."""
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

    Yields serialized examples and encoded images, [n] bytes objects each, and labels, [n] int64.
    """
    files = sorted(os.path.join(split_uri, name) for name in tf.io.gfile.listdir(split_uri))
    few = tf.data.TFRecordDataset(files, compression_type=_COMPRESSION).batch(_ROWS_AT_ONCE)
    for records in _joined(few.as_numpy_iterator()):
        yield records, *parse_records(records, features.IMAGE, features.LABEL)


def _joined(few: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Joins serialized examples, [n] each, to batches of `BATCH_ROWS` or some `_BATCH_BYTES`."""
    batch: list[np.ndarray] = []
    rows = num_bytes = 0
    for some in few:
        batch.append(some)
        rows, num_bytes = rows + len(some), num_bytes + sum(map(len, some))
        if rows >= BATCH_ROWS or num_bytes >= _BATCH_BYTES:
            yield np.concatenate(batch)
            batch, rows, num_bytes = [], 0, 0
    if batch:
        yield np.concatenate(batch)


def read_split(split_uri: str, spec: ImageSpec) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images [n, H, W, C] uint8 and labels [n] int64, as `read_examples`."""
    for _, images, labels in read_examples(split_uri):
        yield decode(images, spec), labels


def digest_split(split_uri: str, spec: ImageSpec) -> str:
    """Returns the digest of all examples, see `example_facts.digest_of`; as `read_examples`."""
    batches = read_split(split_uri, spec)
    return digest_of(np.concatenate([hash_examples(*batch) for batch in batches]))  # [N, 32]
