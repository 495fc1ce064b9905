"""The same model is the same files, whatever processes counted before it was exported."""

import dataclasses

import keras
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC, draw, png
from tests.trainer.trainings import exported_files
from tests.trainer.transforms import write_spec_transform
from trainer import export, features
from trainer.hparams import HParams
from trainer.model import build_model


class ByImage(keras.layers.Layer):
    """Has a loop, a function within a function, a captured constant and gradients of its own."""

    def call(self, images):
        two = tf.constant(2.0)
        doubled = tf.function(lambda image: two * tf.nn.silu(image))
        return tf.map_fn(lambda image: doubled(image) + tf.nn.silu(image), images)


def own_network():
    return keras.Sequential(
        [
            keras.Input(SPEC.image_shape),
            ByImage(),
            keras.layers.Flatten(),
            keras.layers.Dense(SPEC.num_classes, activation="gelu"),
        ]
    )


def small_network():
    return build_model(HParams(), image_shape=SPEC.image_shape, num_classes=SPEC.num_classes)


@pytest.mark.parametrize(("network", "resize"), [(small_network, "pad"), (own_network, "")])
def test_the_same_model_is_the_same_files(network, resize, tmp_path):
    """The second transform graph is made when this process has counted further."""
    model, spec = network(), dataclasses.replace(SPEC, resize=resize)
    pixels, labels = draw(8, seed=1)
    transforms = [
        write_spec_transform(tmp_path / name, spec, list(map(png, pixels)), labels)
        for name in ("transform", "again")
    ]
    models = []
    for number, transform in enumerate(transforms):
        path = tmp_path / str(number)
        export.save(model, tft.TFTransformOutput(transform), spec, str(path))
        models.append(exported_files(path))
    assert "saved_model.pb" in models[0]
    assert models[0] == models[1]


def test_the_functions_compute_what_they_did_and_have_their_gradients(prepared, tmp_path):
    model = own_network()
    export.save(model, tft.TFTransformOutput(prepared.transform_output), SPEC, str(tmp_path / "a"))
    loaded = tf.saved_model.load(str(tmp_path / "a"))
    encoded = tf.constant([png(image) for image in prepared.eval_pixels])

    def of_the_first_class(predict):
        with tf.GradientTape() as tape:
            first = predict(encoded)[features.PROBABILITIES][:, 0]
        variables = sorted(tape.watched_variables(), key=lambda variable: len(variable.shape))
        return first, tape.gradient(first, variables)

    layer = tft.TFTransformOutput(prepared.transform_output).transform_features_layer()
    images = layer({features.IMAGE: encoded})[features.NORMALIZED_IMAGE]

    def in_memory(_):
        return {features.PROBABILITIES: tf.nn.softmax(model(images))}

    expected, gradients = of_the_first_class(in_memory)
    served, its_gradients = of_the_first_class(loaded.signatures[features.SERVING_DEFAULT])
    tf.debugging.assert_near(served, expected, rtol=1e-5)
    assert len(its_gradients) == len(gradients) == 2
    for ours, theirs in zip(its_gradients, gradients, strict=True):
        tf.debugging.assert_near(ours, theirs, rtol=1e-3, atol=1e-4)
