"""The optimizer that the hyper-parameters ask for, and its learning rate over the steps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.hparams import HParams

_WARM_UP = 0.25  # of all steps; Smith 2018 (arXiv 1803.09820), the rise of the one-cycle policy
_START = 0.1  # of the peak
_END = 0.001  # of the peak


def make_optimizer(hparams: HParams, *, total_steps: int) -> keras.optimizers.Optimizer:
    """Makes Adam or Adadelta, with weight decay on kernels only."""
    rate: Any = hparams.learning_rate
    if hparams.schedule == "one_cycle":
        rate = OneCycle(hparams.learning_rate, total_steps)
    kinds = {"adam": keras.optimizers.Adam, "adadelta": keras.optimizers.Adadelta}
    optimizer = kinds[hparams.optimizer](
        learning_rate=rate, weight_decay=hparams.weight_decay or None
    )
    if hparams.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    if hparams.precision == "float16":  # small gradients would become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` in the first quarter of the steps, then falls to a thousandth of it.

    Smith and Topin 2017 (arXiv 1708.07120), with linear sides.
    """

    def __init__(self, peak: float, total_steps: int) -> None:
        self.peak = peak
        self.total_steps = total_steps

    def __call__(self, step: Any) -> Any:
        done = ops.cast(step, "float32") / self.total_steps  # 0..1
        rising = _START + (1.0 - _START) * done / _WARM_UP
        falling = 1.0 - (1.0 - _END) * (done - _WARM_UP) / (1.0 - _WARM_UP)
        return self.peak * ops.maximum(ops.minimum(rising, falling), _END)
