import collections
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.hparams import HParams
from trainer.model import build_model
from trainer.optimizer import learning_rate_at, make_optimizer

HPARAMS = HParams(architecture="deep", learning_rate=0.5, weight_decay=0.1)


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_model(HPARAMS, image_shape=(16, 16, 1), num_classes=3)


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    hparams = HParams(learning_rate=0.01, schedule="one_cycle")
    rate = functools.partial(learning_rate_at, hparams=hparams, total_steps=200)
    assert float(rate(0)) == pytest.approx(0.001)  # a tenth of the peak
    assert float(rate(25)) == pytest.approx(0.0055)  # in the middle of both
    assert float(rate(50)) == pytest.approx(0.01)  # the peak, after a quarter of the steps
    assert float(rate(125)) == pytest.approx(0.005005)  # in the middle of both
    assert float(rate(200)) == pytest.approx(0.00001)  # a thousandth of the peak


def test_a_constant_learning_rate_is_the_one_that_was_set():
    hparams = HParams(learning_rate=0.01, schedule="constant")
    assert [learning_rate_at(step, hparams, total_steps=100) for step in (0, 100)] == [0.01, 0.01]


@pytest.mark.parametrize("optimizer", ["adam", "adadelta"])
def test_weight_decay_shrinks_kernels_alone(optimizer):
    hparams = HParams(optimizer=optimizer, learning_rate=0.5, weight_decay=0.1)
    weights = [keras.Variable([2.0], name=name) for name in ("kernel", "bias", "gamma", "beta")]
    with keras.name_scope("unbiased"):  # what a layer is called says nothing
        weights.append(keras.Variable([2.0], name="kernel"))
    with keras.name_scope("dense"):
        weights.append(keras.Variable([2.0], name="bias"))
    make_optimizer(hparams).apply([np.zeros(1, np.float32)] * 6, weights)
    # 2 * (1 - 0.5 * 0.1): without a gradient only the decay is left.
    found = [float(weight[0]) for weight in weights]
    assert found == pytest.approx([1.9, 2.0, 2.0, 2.0, 1.9, 2.0])


def test_adam_is_that_of_keras():
    rng = np.random.default_rng(1)
    ours, expected = network(), network()
    keras_own = keras.optimizers.Adam(learning_rate=0.5, weight_decay=0.1)
    keras_own.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    optimizers = [make_optimizer(HPARAMS), keras_own]
    for _ in range(5):
        gradients = [rng.normal(size=w.shape).astype("f") for w in ours.trainable_variables]
        for optimizer, model in zip(optimizers, (ours, expected), strict=True):
            optimizer.apply([tf.constant(one) for one in gradients], model.trainable_variables)
    for one, other in zip(ours.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_adam_takes_the_gradient_of_an_embedding():
    weights = [keras.Variable([[1.0], [2.0]])]
    rows = tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([1]), tf.constant([2, 1]))
    make_optimizer(HParams(learning_rate=0.5)).apply([rows], weights)
    # Adam's first step is the learning rate.
    np.testing.assert_allclose(weights[0], [[1.0], [1.5]], rtol=1e-5)


def test_adam_makes_one_operation_for_each_weight():
    """A GPU takes longer to start an operation than to make a small one."""
    model, optimizer = network(), make_optimizer(HPARAMS)
    weights = model.trainable_variables
    optimizer.build(weights)
    step = tf.function(lambda: optimizer.apply([tf.ones_like(w) for w in weights]))
    graph = step.get_concrete_function().graph
    kinds = collections.Counter(operation.type for operation in graph.get_operations())
    assert (kinds["ResourceApplyAdam"], kinds["Sqrt"]) == (len(weights), 1)
