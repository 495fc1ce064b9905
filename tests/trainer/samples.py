"""Small colour images, as arrays, as PNG and as tf.Example."""

import io
import struct

import numpy as np
import tensorflow as tf
from PIL import Image

from trainer import features
from trainer.features import ImageSpec

# Neither square nor grey nor of ten classes: what is hard-wired breaks.
SPEC = ImageSpec(image_shape=(12, 10, 3), class_names=("ant", "bee", "cat", "dog"))


def png(pixels: np.ndarray) -> bytes:
    """[H, W, C] uint8 as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightest quadrant is their label: ([N, H, W, C] uint8, [N] int64)."""
    rng = np.random.default_rng(seed)
    height, width, channels = SPEC.image_shape
    pixels = rng.integers(0, 120, size=(rows, height, width, channels), dtype=np.uint8)
    labels = np.arange(rows, dtype=np.int64) % SPEC.num_classes
    for image, label in zip(pixels, labels, strict=True):
        top, left = (label // 2) * height // 2, (label % 2) * width // 2
        image[top : top + height // 2, left : left + width // 2] += 120
    return pixels, labels


def serialize(
    image: bytes, label: int, mean_intensity: float | None = None, camera: str = ""
) -> bytes:
    feature = {
        features.IMAGE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        features.LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    if camera:
        feature["camera"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[camera.encode()]))
    if mean_intensity is not None:
        feature[features.MEAN_INTENSITY] = tf.train.Feature(
            float_list=tf.train.FloatList(value=[mean_intensity])
        )
        for name, side in zip(
            (features.WIDTH, features.HEIGHT), struct.unpack(">II", image[16:24]), strict=True
        ):
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[side]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
