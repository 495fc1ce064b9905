"""Models made in a second: the brightest part of an image is its class."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from trainer import features


class BrightestPart(tf.Module):
    """Cuts an image into as many upright strips as there are classes.

    Each strip's mean intensity, 0..1, times ten is the logit of its class.
    """

    def __init__(self, image_shape: tuple[int, int, int], class_names: tuple[str, ...]) -> None:
        super().__init__()
        self._classes = tf.constant(class_names)
        self._strips = len(class_names)
        spec = tf.TensorSpec([None, *image_shape], tf.uint8, features.PIXELS_INPUT)
        self.signature = self._predict.get_concrete_function(spec)

    @tf.function
    def _predict(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        strips = tf.split(tf.cast(pixels, tf.float32), self._strips, axis=2)
        logits = tf.stack([tf.reduce_mean(s, axis=[1, 2, 3]) for s in strips], axis=1) / 25.5
        index = tf.argmax(logits, axis=-1)
        return {
            features.PROBABILITIES: tf.nn.softmax(logits),
            features.CLASS_NAME: tf.gather(self._classes, index),
            features.CLASS_INDEX: index,
        }


def save(path: Path, image_shape: tuple[int, int, int], class_names: tuple[str, ...]) -> Path:
    model = BrightestPart(image_shape, class_names)
    tf.saved_model.save(model, str(path), signatures={features.PREDICT_PIXELS: model.signature})
    return path


def probabilities(means: list[float]) -> np.ndarray:
    """What a model of this kind answers where the strips have these mean intensities, 0..255."""
    powers = np.exp(np.array(means) / 25.5)
    return powers / powers.sum()


def save_function(
    path: Path,
    function: Callable[..., dict[str, tf.Tensor]],
    *inputs: tf.TensorSpec,
    signature: str = features.SERVING_DEFAULT,
) -> Path:
    """A SavedModel that knows nothing of this pipeline but what is given here."""
    module = tf.Module()
    module.answer = tf.function(function, input_signature=inputs)
    tf.saved_model.save(module, str(path), signatures={signature: module.answer})
    return path


def save_for_python_only(path: Path, image_shape: tuple[int, int, int]) -> Path:
    """A SavedModel of two classes that `tf.saved_model.load` reads, and TensorFlow Serving loads.

    The graph restores copies of the variables of Keras, and the signature reads the originals.
    """
    module = tf.Module()
    module.network = keras.Sequential(
        [keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )

    @tf.function(input_signature=[tf.TensorSpec([None, *image_shape], tf.uint8, "pixels")])
    def predict(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.PROBABILITIES: module.network(tf.cast(pixels, tf.float32))}

    tf.saved_model.save(module, str(path), signatures={features.PREDICT_PIXELS: predict})
    return path


def brightest_third(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
    """[B, H, W, ...] uint8 -> `scores` [B, 3]: that the upper, middle, lower third is brightest."""
    thirds = tf.stack(tf.split(tf.cast(pixels, tf.float32), 3, axis=1), axis=1)
    means = tf.reduce_mean(tf.reshape(thirds, [tf.shape(pixels)[0], 3, -1]), axis=2)
    return {"scores": tf.nn.softmax(means / 10.0)}


def images(*sizes: int | None) -> tf.TensorSpec:
    """Batches of uint8 images of these sizes."""
    return tf.TensorSpec([None, *sizes], tf.uint8, "images")


def without_end(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
    """Any batch [B, ...] -> `scores` [B, 3], by way of [B, 2^45]: no machine has the memory."""
    sizes = tf.stack([tf.shape(inputs, tf.int64)[0], tf.constant(1 << 45, tf.int64)])
    return {"scores": tf.fill(sizes, 0.0)[:, :3]}
