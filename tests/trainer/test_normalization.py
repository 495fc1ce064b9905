import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.normalization import BatchNormalization

SHAPES = [(16, 5), (4, 3, 2, 5)]


def layers(shape, **options):
    """Keras's layer and ours, with the same weights."""
    rng = np.random.default_rng(0)
    both = [
        kind(momentum=0.9, **options)
        for kind in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    weights = [rng.uniform(0.5, 2.0, 5).astype(np.float32) for _ in range(4)]
    for layer in both:
        layer.build((None, *shape[1:]))
        layer.set_weights(weights)
    return both


def values(shape, seed=1):
    return tf.constant(np.random.default_rng(seed).normal(3.0, 2.0, shape), tf.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_output_and_statistics_are_those_of_keras(shape, training):
    expected, ours = layers(shape)
    inputs = values(shape)
    np.testing.assert_allclose(
        ours(inputs, training=training), expected(inputs, training=training), atol=1e-5
    )
    for weight, value in zip(ours.weights, expected.weights, strict=True):
        assert weight.name == value.name
        np.testing.assert_allclose(weight, value, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        *((shape, {"trainable": False}) for shape in SHAPES),
        ((4, 3, 2, 5), {"scale": False}),
        ((4, 3, 2, 5), {"center": False}),
        ((4, 5, 2, 3), {"axis": 1}),
        ((4, 3, 5), {}),
    ],
)
def test_what_the_operation_lacks_is_done_as_by_keras(shape, options):
    inputs = values(shape)
    outputs = []
    for kind in (keras.layers.BatchNormalization, BatchNormalization):
        layer = kind(**options)
        layer.build((None, *shape[1:]))
        outputs.append([layer(inputs, training=True), *layer.weights])
    for expected, ours in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_keras(shape):
    gradients = []
    for layer in layers(shape):
        inputs = values(shape)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=True) * values(shape, seed=2))
        sources = [inputs, *(weight.value for weight in layer.trainable_weights)]
        gradients.append(tape.gradient(loss, sources))
    for ours, expected in zip(*reversed(gradients), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_half_precision_keeps_statistics_in_float32():
    expected, ours = layers((4, 3, 2, 5), dtype="mixed_bfloat16")
    inputs = tf.cast(values((4, 3, 2, 5)), tf.bfloat16)
    outputs = ours(inputs, training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32),
        tf.cast(expected(inputs, training=True), tf.float32),
        atol=0.05,
    )
    np.testing.assert_allclose(ours.moving_mean, expected.moving_mean, rtol=1e-3)
