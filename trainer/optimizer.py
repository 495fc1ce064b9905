"""The optimizer that the hyper-parameters ask for, and its learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from trainer.hparams import HParams

# The last part of a variable's name, which may name the replica too: layers are named freely.
_WITHOUT_DECAY = r"(^|/)(bias|beta|gamma)(/replica_\d+)?(:\d+)?$"
_WARM_UP = 0.25  # of all steps; Smith 2018 (arXiv 1803.09820), the rise of the one-cycle policy
_START = 0.1  # of the peak
_END = 0.001  # of the peak


def make_optimizer(hparams: HParams) -> keras.optimizers.Optimizer:
    """Makes Adam or Adadelta, with weight decay on kernels only.

    Its learning rate is a variable, for `learning_rate_at` to be assigned before each step: Keras
    would evaluate a schedule of its own anew for each weight that decays.
    """
    kinds = {"adam": FusedAdam, "adadelta": Adadelta}
    optimizer = kinds[hparams.optimizer](
        learning_rate=hparams.learning_rate, weight_decay=hparams.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=[_WITHOUT_DECAY])
    if hparams.precision == "float16":  # small gradients would become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def apply_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[Any], variables: Sequence[Any]
) -> None:
    """Updates the variables by the sums of the gradients over all replicas; each replica calls it.

    They are summed here and not by Keras, whose scaling of the loss looks for an overflow in the
    first replica's gradients alone: one of another replica would make all weights NaN.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        given = [gradient for gradient in gradients if gradient is not None]
        sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given))
        gradients = [gradient if gradient is None else next(sums) for gradient in gradients]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


class _Summed(keras.optimizers.Optimizer):
    """Takes the gradients as they are, which `apply_gradients` has summed.

    Keras sums those of a single replica too, by `ReplicaContext.all_reduce`. That has a gradient of
    its own, which TensorFlow registers for good (custom_gradient.py, `_graph_mode_decorator`), and
    with it the graph and all variables that the graph reads: a search would keep those of all its
    trials.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


class Adadelta(_Summed, keras.optimizers.Adadelta):
    """Keras's Adadelta."""


class FusedAdam(_Summed, keras.optimizers.Adam):
    """Keras's Adam with TensorFlow's own operation for it, one for each variable instead of 20.

    On a CPU it reads and writes the weights once, and a GPU takes longer to start an operation than
    to make a small one (docs/decisions/0033).
    """

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """Corrects the bias of both averages once for all variables.

        Kingma and Ba 2015 (arXiv 1412.6980), the end of section 2.
        """
        step = ops.cast(self.iterations + 1, "float32")
        correction = ops.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
        super()._backend_update_step(grads, trainable_variables, learning_rate * correction)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Updates a float32 variable, given the corrected learning rate."""
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )


def learning_rate_at(step: Any, hparams: HParams, *, total_steps: int) -> Any:
    """Returns the learning rate of a step, counted from 0 on; float32.

    "one_cycle" rises linearly to its peak in the first quarter of the steps, then falls to a
    thousandth of it: Smith and Topin 2017 (arXiv 1708.07120), with linear sides.
    """
    peak = hparams.learning_rate
    if hparams.schedule == "constant":
        return peak
    done = ops.cast(step, "float32") / total_steps  # 0..1
    rising = _START + (1.0 - _START) * done / _WARM_UP
    falling = 1.0 - (1.0 - _END) * (done - _WARM_UP) / (1.0 - _WARM_UP)
    return peak * ops.maximum(ops.minimum(rising, falling), _END)
