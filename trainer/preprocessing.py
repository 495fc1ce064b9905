"""`preprocessing_fn`, whose graph training and serving share.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from trainer import features
from trainer.image_graph import to_pixels

_SMALLEST_STD = 1.0  # grey level: keeps a set of blank images from dividing by zero


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes and normalizes `image`, one-hot encodes `label`.

    Args:
      inputs: `image` is encoded, `label` int64, each [B] or [B, 1].
      custom_config: `ImageSpec.to_config()` under the key "spec".

    Returns:
      `normalized_image` [B, H, W, C] float32, by the mean and standard deviation that each channel
      has over the whole training split, and `one_hot_label` [B, num_classes] float32.
    """
    if "spec" not in custom_config:
        raise ValueError(
            "custom_config lacks spec, expected trainer.features.ImageSpec.to_config() there: give "
            "it to Transform"
        )
    spec = features.ImageSpec.from_config(custom_config["spec"])
    pixels = to_pixels(inputs[features.IMAGE], spec)  # [B, H, W, C] uint8
    mean, std = _mean_and_std(pixels)
    intensity = tf.cast(pixels, tf.float32) / 255.0  # [B, H, W, C] 0..1
    label = tf.reshape(inputs[features.LABEL], [-1])  # [B] int64
    return {
        features.NORMALIZED_IMAGE: (intensity - mean) / std,
        features.ONE_HOT_LABEL: tf.one_hot(label, spec.num_classes),
    }


def _mean_and_std(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and standard deviation of each channel over the training split: [C] float32, 0..1.

    They come from sums of integers, which do not depend on the batches that Beam makes. Sums of
    floats differ in the last bit from one execution to the next, and so would all weights.
    """
    levels = tf.cast(pixels, tf.int64)
    # Summed per image first: the analyzer, one for all three, sees few values per image.
    of_images = tf.stack(
        [
            tf.reduce_sum(of_pixels, axis=[1, 2])
            for of_pixels in (tf.ones_like(levels), levels, tf.square(levels))
        ],
        axis=1,
    )  # [B, 3, C]
    totals = tf.cast(tft.sum(of_images, reduce_instance_dims=False), tf.float64)  # [3, C]
    count, total, of_squares = tf.unstack(totals)
    mean = total / count
    variance = of_squares / count - tf.square(mean)
    std = tf.maximum(tf.sqrt(tf.maximum(variance, 0.0)), _SMALLEST_STD)
    return tf.cast(mean / 255.0, tf.float32), tf.cast(std / 255.0, tf.float32)
