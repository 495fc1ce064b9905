"""From records to the pixels and labels of a split, where TensorFlow reads them.

The transform graph normalizes each pixel independently, so its values for the 256 grey levels of
each channel describe it completely: pixels stay as uint8, and a batch looks them up, with bit-equal
results (docs/decisions/0001 and 0012). They are decoded once, into memory or into a scratch file
(docs/decisions/0035).

Synopsis::

    reader = SplitReader(files, tft_output, spec)
    reader.num_bytes                  # of pixels and labels, decoded
    split = reader.load()             # into memory
    split = reader.load(folder)       # into a scratch file there
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from trainer import features
from trainer.features import ImageSpec
from trainer.image_graph import to_pixels
from trainer.paged_array import PagedArray
from trainer.tfrecords import Records
from trainer.transform_graph import TransformGraph

_DECODE_BATCH = 1024  # examples decoded at a time, at most
_DECODE_BYTES = 4 << 20  # of their pixels, at most
_ROUNDING = 1e-5  # of normalized values, where a machine's vector and scalar operations differ


@dataclasses.dataclass(frozen=True)
class LoadedSplit:
    """A split in memory, or in a scratch file that TensorFlow reads like memory.

    Attributes:
      images: [N, H, W, C] uint8.
      labels: [N, num_classes] float32, one-hot.
      levels: [256, C] float32, the normalized value of each grey level.
      scratch: the arrays behind images and labels if they lie in a file.
    """

    images: tf.Tensor
    labels: tf.Tensor
    levels: tf.Tensor
    scratch: tuple[PagedArray, ...] = ()

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def num_bytes(self) -> int:
        """The size of all pixels and labels."""
        return sum(one.shape.num_elements() * one.dtype.size for one in self.tensors[:2])

    @property
    def tensors(self) -> tuple[tf.Tensor, ...]:
        return self.images, self.labels, self.levels

    def normalized(self, images: tf.Tensor) -> tf.Tensor:
        """Normalizes [B, H, W, C] uint8 to [B, H, W, C] float32."""
        channels = self.levels.shape[1]
        places = tf.cast(images, tf.int32)
        if channels > 1:  # int64, because with int32 TensorFlow computes on the CPU
            places = tf.cast(images, tf.int64) * channels + tf.range(channels, dtype=tf.int64)
        return tf.gather(tf.reshape(self.levels, [-1]), places)


class SplitReader:
    """Reads the gzipped TFRecords of one split, in the order of their files' names."""

    def __init__(
        self, file_patterns: Sequence[str], tft_output: tft.TFTransformOutput, image_spec: ImageSpec
    ) -> None:
        """Counts the examples; raises ValueError if there is none, or for other classes than those
        of the transform graph.
        """
        of_graph = tft_output.transformed_feature_spec()[features.ONE_HOT_LABEL]
        image_spec.require_classes(of_graph.shape[-1])
        self._records = Records(file_patterns)
        self._graph = TransformGraph(tft_output)
        raw = tft_output.raw_feature_spec()
        self._raw_spec = {name: raw[name] for name in (features.IMAGE, features.LABEL)}
        self._image_spec, self._shape = image_spec, image_spec.image_shape
        self._normalize = tf.function(self._normalized, autograph=False, reduce_retracing=True)

    @property
    def num_bytes(self) -> int:
        """The size of all pixels and labels."""
        of_label = self._image_spec.num_classes * np.dtype(np.float32).itemsize
        return len(self._records) * (math.prod(self._shape) + of_label)

    def load(self, scratch: Path | None = None) -> LoadedSplit:
        """Decodes the split into memory, or with `scratch` into a file in that directory.

        Raises ValueError if the transform graph does more than normalize each pixel independently,
        and `NoScratchSpace`.
        """
        rows = len(self._records)
        images = PagedArray([rows, *self._shape], np.uint8, folder=scratch)
        labels = PagedArray([rows, self._image_spec.num_classes], np.float32, folder=scratch)
        batch = max(1, min(_DECODE_BATCH, _DECODE_BYTES // math.prod(self._shape)))
        for start, (pixels, one_hot) in self._records.decoded(self._decode, batch=batch):
            images.array[start : start + len(pixels)] = pixels
            labels.array[start : start + len(pixels)] = one_hot
        split = LoadedSplit(
            images.tensor(),
            labels.tensor(),
            self._levels(),
            scratch=(images, labels) if scratch else (),
        )
        self._require_levels(split, self._records.first(batch))
        return split

    def _decode(self, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = tf.io.parse_example(serialized, self._raw_spec)
        # Nothing here asks the graph for its normalized images, so it does not compute them.
        pixels = to_pixels(raw[features.IMAGE], self._image_spec)
        return pixels, self._graph(raw)[features.ONE_HOT_LABEL]

    def _normalized(self, encoded: tf.Tensor) -> tf.Tensor:
        return self._graph({features.IMAGE: encoded})[features.NORMALIZED_IMAGE]

    def _levels(self) -> tf.Tensor:
        """Returns the normalized value of each grey level in each channel: [256, C] float32."""
        raw_shape = self._raw_spec[features.IMAGE].shape
        values = []
        for level in range(256):
            png = tf.io.encode_png(tf.fill(self._shape, tf.cast(level, tf.uint8)))
            values.append(self._normalize(tf.reshape(png, [1, *raw_shape]))[:, 0, 0, :])
        return tf.concat(values, axis=0)

    def _require_levels(self, split: LoadedSplit, first: tf.Tensor) -> None:
        expected = self._normalize(tf.io.parse_example(first, self._raw_spec)[features.IMAGE])
        found = split.normalized(split.images[: len(expected)])
        if tf.reduce_max(tf.abs(found - expected)) > _ROUNDING:
            raise ValueError(
                "the transform graph does not normalize each pixel by its own grey level alone, "
                "expected that of trainer/preprocessing.py: training looks pixels up by their level"
            )
