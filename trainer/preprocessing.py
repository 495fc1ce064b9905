"""`preprocessing_fn`: PNG bytes -> normalized pixels, label -> one-hot.

One graph for training and serving.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from trainer import features

_SMALLEST_STD = 1.0 / 255.0  # one grey level: keeps a set of blank images from dividing by zero


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes and normalizes the image, one-hot encodes the label.

    Args:
      inputs: `image` ([B] or [B, 1] string, PNG) and `label` ([B] or [B, 1] int64) are used.
      custom_config: `ImageSpec.to_config()` under the key "spec".

    Returns:
      `normalized_image` [B, H, W, C] float32, by the mean and standard deviation that each channel
      has over the whole training split, and `one_hot_label` [B, num_classes] float32.
    """
    spec = features.ImageSpec.from_config(custom_config["spec"])
    pixels = decode_png(inputs[features.IMAGE], spec.image_shape)  # [B, H, W, C] uint8
    intensity = tf.cast(pixels, tf.float32) / 255.0  # [B, H, W, C] 0..1
    # All images are of one size, so the mean of the images' means is the mean of the pixels; the
    # analyzers then see two values per image and channel and not every pixel.
    mean = tft.mean(tf.reduce_mean(intensity, axis=[1, 2]), reduce_instance_dims=False)  # [C]
    mean_square = tft.mean(
        tf.reduce_mean(tf.square(intensity), axis=[1, 2]), reduce_instance_dims=False
    )  # [C]
    std = tf.maximum(tf.sqrt(tf.maximum(mean_square - tf.square(mean), 0.0)), _SMALLEST_STD)
    label = tf.reshape(inputs[features.LABEL], [-1])  # [B] int64
    return {
        features.NORMALIZED_IMAGE: (intensity - mean) / std,
        features.ONE_HOT_LABEL: tf.one_hot(label, spec.num_classes),
    }


def decode_png(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """[B] or [B, 1] PNG bytes -> [B, H, W, C] uint8; fails on anything of another shape."""
    height, width, channels = image_shape

    def decode_one(png: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_png(png, channels=channels)
        return tf.ensure_shape(image, [height, width, channels])

    return tf.map_fn(decode_one, tf.reshape(encoded, [-1]), fn_output_signature=tf.uint8)
