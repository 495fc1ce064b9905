"""Exports a model as one SavedModel, which takes raw inputs and holds the transform graph."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from trainer import features
from trainer.features import ImageSpec
from trainer.function_names import number_by_order
from trainer.transform_graph import TransformGraph

_IMAGES = tf.TensorSpec([None], tf.string, features.IMAGE_BYTES_INPUT)
_EXAMPLES = tf.TensorSpec([None], tf.string, features.EXAMPLES_INPUT)


class ServingModel(tf.Module):
    """A trained network behind the transform graph with which it was trained.

    Every signature but `transform_features` returns `probabilities` [B, num_classes] float32,
    `class_name` [B] string and `class_index` [B] int64.
    """

    def __init__(
        self, model: keras.Model, tft_output: tft.TFTransformOutput, spec: ImageSpec
    ) -> None:
        super().__init__()
        # What a server that knows no Python restores are TensorFlow's own variables. A Keras object
        # that is tracked here would be saved with copies of them, and the originals stay empty.
        self._network = functools.partial(model, training=False)
        self.weights = [one.value for one in model.weights]
        self.transform = TransformGraph(tft_output)
        self._spec = spec
        self._raw_spec = tft_output.raw_feature_spec()
        self._class_names = tf.constant(spec.class_names)  # [num_classes]
        # What layers read beside their weights, such as RandomFlip its random numbers.
        read = self._predict_images.get_concrete_function(_IMAGES).variables
        weights = set(map(id, self.weights))
        self._others = [one for one in read if id(one) not in weights]

    def signatures(self) -> dict[str, Any]:
        """Returns the functions by signature name; `trainer.features` names their inputs."""
        height, width, channels = self._spec.image_shape
        pixels = [None, *((None, None) if self._spec.resize else (height, width)), channels]
        return {
            features.SERVING_DEFAULT: self._predict_images.get_concrete_function(_IMAGES),
            features.PREDICT_PIXELS: self._predict_pixels.get_concrete_function(
                tf.TensorSpec(pixels, tf.uint8, features.PIXELS_INPUT)
            ),
            features.SERVING_EXAMPLES: self._predict_examples.get_concrete_function(_EXAMPLES),
            features.TRANSFORM_FEATURES: self._transform_examples.get_concrete_function(_EXAMPLES),
        }

    @tf.function(autograph=False)
    def _predict_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = [-1, *self._raw_spec[features.IMAGE].shape]
        transformed = self.transform({features.IMAGE: tf.reshape(image_bytes, shape)})
        return self._predict(transformed[features.NORMALIZED_IMAGE])

    @tf.function(autograph=False)
    def _predict_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Wraps [B, h, w, C] uint8 as uncompressed PNG, where the transform graph starts: lossless,
        and without a second resizing and normalization beside it.
        """
        with tf.device("CPU:0"):  # as `to_pixels`
            encoded = tf.map_fn(
                lambda image: tf.io.encode_png(image, compression=0),
                pixels,
                fn_output_signature=tf.string,
            )
        return self._predict_images(encoded)

    @tf.function(autograph=False)
    def _predict_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._predict_images(self._parse(examples, features.IMAGE))

    @tf.function(autograph=False)
    def _transform_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the label alone: the normalized images, which the Evaluator does not need, would
        copy every pixel of the test split through Beam.
        """
        transformed = self.transform({features.LABEL: self._parse(examples, features.LABEL)})
        return {features.ONE_HOT_LABEL: transformed[features.ONE_HOT_LABEL]}

    def _parse(self, examples: tf.Tensor, name: str) -> tf.Tensor:
        return tf.io.parse_example(examples, {name: self._raw_spec[name]})[name]

    def _predict(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self._network(images)  # [B, num_classes]
        index = tf.argmax(logits, axis=-1)  # [B] int64
        return {
            features.PROBABILITIES: tf.nn.softmax(logits),
            features.CLASS_NAME: tf.gather(self._class_names, index),
            features.CLASS_INDEX: index,
        }


def save(
    model: keras.Model, tft_output: tft.TFTransformOutput, spec: ImageSpec, export_dir: str
) -> None:
    """Writes the SavedModel with its four signatures to `export_dir`.

    The same weights, transform graph and network are the same files, from any process.
    """
    served = ServingModel(model, tft_output, spec)
    tf.saved_model.save(served, export_dir, signatures=served.signatures())
    number_by_order(export_dir)
