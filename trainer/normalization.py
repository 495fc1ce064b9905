"""Batch normalization by TensorFlow's fused operation."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def require_batch(model: keras.Model, batch: int) -> None:
    """Raises ValueError for a global batch of one image whose statistics a layer would take.

    That is a layer which takes those of each unit over the batch alone, as after a dense layer, and
    so would make zeros of a single example (and a GPU NaN of their variance).
    """
    if batch == 1 and any(
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and layer.input_spec.ndim == 2
        for layer in model.layers
    ):
        raise ValueError(
            "the global batch is 1, expected 2 or more: the network normalizes each unit of a "
            "dense layer over the batch; set training.per_replica_batch higher"
        )


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer with the same weights and results, over the last axis, in less time.

    Keras 3 composes it of elementary operations, 44 % of a training step of the network `deep`.
    TensorFlow's single operation takes a third of that (docs/decisions/0011), but does not know
    other replicas: under a strategy with several, Keras's own code takes the statistics over all of
    them.
    """

    def __init__(self, **options: Any) -> None:
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        super().__init__(**{"synchronized": several, **options})

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        if self.synchronized or not self._is_fused(inputs.shape.rank):
            return super().call(inputs, training=training, mask=mask)
        # Whatever the precision, scale, offset and statistics are float32.
        x = inputs if inputs.shape.rank == 4 else inputs[:, None, None, :]
        arguments = {"x": x, "scale": self.gamma, "offset": self.beta, "epsilon": self.epsilon}
        if training and self.trainable:  # a frozen layer keeps its statistics, as Keras's does
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(**arguments, is_training=True)
            self._update(mean, variance, count=tf.size(x[..., 0], out_type=tf.float32))
        else:
            y, _, _ = tf.compat.v1.nn.fused_batch_norm(
                **arguments,
                mean=self.moving_mean,
                variance=self.moving_variance,
                is_training=False,
            )
        return tf.reshape(y, tf.shape(inputs))

    def _is_fused(self, rank: int) -> bool:
        """Whether the operation can: the last axis of images or vectors, scaled and shifted."""
        return rank in (2, 4) and self.axis in (-1, rank - 1) and self.scale and self.center

    def _update(self, mean: tf.Tensor, variance: tf.Tensor, *, count: tf.Tensor) -> None:
        """Takes the variance as the fused operation gives it: divided by `count` - 1."""
        biased = variance * (count - 1.0) / count  # as Keras has it, and two replicas with it
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, biased)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
