"""The space that is searched, around the hyper-parameters of a training.

Synopsis::

    space = search_space(HParams(), objective="accuracy")     # a keras_tuner.HyperParameters
    space.values["dropout"]                                   # 0.0: the training's own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras_tuner

from trainer.hparams import HParams

# Times the training's own learning rate, on a logarithmic scale: Adam and Adadelta are a factor of
# a hundred apart.
_LEARNING_RATE = (0.1, 3.0)

# Few values each: a search has some dozen trials.
_CHOICES: Mapping[str, Sequence[float]] = {
    "width": (0.5, 0.75, 1.0, 1.25, 1.5),
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "weight_decay": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
    "label_smoothing": (0.0, 0.02, 0.05, 0.1),
    "max_shift": (0, 1, 2, 3),
    "max_rotation": (0.0, 5.0, 10.0, 15.0),
    "max_zoom": (0.0, 0.05, 0.1, 0.15),
}


def search_space(hparams: HParams, *, objective: str) -> keras_tuner.HyperParameters:
    """Learning rate, width, regularization and the strength of the augmentation.

    Args:
      hparams: of the training; its own values are the defaults, and added to the choices.
      objective: "accuracy" or "loss"; the latter is not searched over `label_smoothing`.
    """
    space = keras_tuner.HyperParameters()
    rate = hparams.learning_rate
    low, high = (factor * rate for factor in _LEARNING_RATE)
    space.Float("learning_rate", low, high, sampling="log", default=rate)
    for name, choices in _CHOICES.items():
        if name == "label_smoothing" and objective == "loss":
            continue
        own = type(choices[0])(getattr(hparams, name))
        space.Choice(name, sorted({*choices, own}), default=own)
    return space
