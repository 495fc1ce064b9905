"""Proposes trials: keras-tuner's oracles over our search space, with a budget of time."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle

from trainer import own_network, progress
from trainer.hparams import HYPER_PARAMETERS, HParams, HyperParameter
from trainer.tuning.results import EXTRA, searched, text_of
from trainer.tuning.settings import TuningConfig

# Lowest and highest, as factors of the training's own learning rate: those of Adam and Adadelta are
# a factor of a hundred apart.
_LEARNING_RATE = (0.1, 3.0)
_RATE = "learning_rate"

# Few values each: a search has some dozen trials.
_CHOICES: Mapping[str, Sequence[float]] = {
    "width": (0.5, 0.75, 1.0, 1.25, 1.5),
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "weight_decay": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
    "label_smoothing": (0.0, 0.02, 0.05, 0.1),
    "max_shift": (0, 1, 2, 3),
    "max_rotation": (0.0, 5.0, 10.0, 15.0),
    "max_zoom": (0.0, 0.05, 0.1, 0.15),
    "color_jitter": (0.1, 0.2, 0.4),
}


_OF_LAYERS = ("width", "dropout")  # they change which layers there are, and their shapes


def search_space(hparams: HParams, *, objective: str, side: int) -> keras_tuner.HyperParameters:
    """Returns the space of learning rate, width, regularization and strength of the augmentation.

    The training's own `hparams` are the defaults, and are added to the choices. With the objective
    "loss" `label_smoothing` is left out, because it raises the loss, and `color_jitter` where the
    training has none, as for grey images. Hyper-parameters of plugins and of the user's own network
    are searched if they declare choices. Of a network that is the user's own, width and dropout are
    left out unless its source reads them. With given weights the network stays as it is.

    Args:
      side: the smaller one of an image, in pixels: no shift is as large.
    """
    source = hparams.found.get(own_network.SOURCE)
    space = keras_tuner.HyperParameters()
    rate = hparams.learning_rate
    low, high = (factor * rate for factor in _LEARNING_RATE)
    space.Float(_RATE, low, high, sampling="log", default=rate)
    for name, choices in _CHOICES.items():
        if name == "label_smoothing" and objective == "loss":
            continue
        if name == "color_jitter" and not hparams.color_jitter:
            continue
        if name in _OF_LAYERS and (hparams.weights or (source and not _reads(source, name))):
            continue
        if name == "max_shift":
            choices = [shift for shift in choices if shift < side]
        own = type(choices[0])(getattr(hparams, name))
        space.Choice(name, sorted({*choices, own}), default=own)
    for name, entry in _declared(hparams).items():
        if entry.choices and not hparams.weights:
            own = hparams.extra.get(name, entry.default)
            space.Choice(f"{EXTRA}{name}", list(entry.choices), default=own)
    return space


def _reads(source: str, word: str) -> bool:
    """Whether a network's source reads this hyper-parameter, as an attribute or by its name."""
    return any(
        word in (getattr(node, "attr", None), getattr(node, "value", None))
        for node in ast.walk(ast.parse(source))
    )


def _declared(hparams: HParams) -> dict[str, HyperParameter]:
    architecture, source = hparams.architecture, hparams.found.get(own_network.SOURCE)
    own = own_network.parameters(architecture, source) if source else {}
    return {**HYPER_PARAMETERS, **own}


class _WithBudget(keras_tuner.Oracle):
    """Adds to an oracle of keras-tuner a budget of time, the first trial, and lines of progress.

    The first trial has the hyper-parameters from which the search starts, so the best trial is at
    least as good on `eval`. `heard_at` is the `time.monotonic()` of a worker's last word, or None.
    """

    def __init__(self, *, max_trials: int, max_seconds: float, **options: Any) -> None:
        super().__init__(
            # A trial that fails is a point to stay away from, not a reason to end the search.
            max_consecutive_failed_trials=max_trials + 1,
            **options,
        )
        self.max_trials = max_trials  # HyperbandOracle does not take it
        self.heard_at: float | None = None
        self._max_seconds = max_seconds
        self._began = time.monotonic()  # minus the seconds that earlier processes took

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.trials and time.monotonic() - self._began >= self._max_seconds:
            return {"status": "STOPPED", "values": None}
        proposed = super().populate_space(trial_id)
        if proposed["status"] == "RUNNING":
            values = proposed["values"]
            if self.trials:
                values[_RATE] = float(f"{values[_RATE]:.4g}")  # drawn, and fit to be shown
            else:
                values.update({hp.name: hp.default for hp in self.hyperparameters.space})
        return proposed

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        self.heard_at = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            values = searched(trial.hyperparameters.values)
            progress.LOGGER.info(
                "trial %d: %s",
                int(trial.trial_id) + 1,
                ", ".join(f"{name} {text_of(value)}" for name, value in values.items()),
            )
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        self.heard_at = time.monotonic()
        super().end_trial(trial)
        self.save()  # keras-tuner did while the trial still counted as one that runs
        score, best = self.trials[trial.trial_id].score, self.get_best_trials()[0]
        name = self.objective.name.replace("_", " ")
        line = f"trial {int(trial.trial_id) + 1}: "
        line += "failed" if score is None else f"{name} {score:.4f}"
        if best.score is not None:
            line += f", best {best.score:.4f} (trial {int(best.trial_id) + 1})"
        progress.LOGGER.info(line)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "seconds_used": time.monotonic() - self._began}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        # keras-tuner reads them in any order, and a Gaussian process makes a difference of that.
        in_order = sorted(self.trials, key=int)
        self.trials: dict[str, Any] = {name: self.trials[name] for name in in_order}
        self._began = time.monotonic() - state["seconds_used"]


class _Bayesian(_WithBudget, BayesianOptimizationOracle):
    pass


class _Hyperband(_WithBudget, HyperbandOracle):
    pass


def make_oracle(
    settings: TuningConfig, hparams: HParams, *, side: int, seed: int
) -> keras_tuner.Oracle:
    """Returns the oracle that the settings ask for, over the space around `hparams`."""
    direction = "max" if settings.objective == "accuracy" else "min"
    common: dict[str, Any] = {
        "max_trials": settings.max_trials,
        "max_seconds": 60 * (settings.max_minutes or math.inf),
        "objective": keras_tuner.Objective(f"eval_{settings.objective}", direction),
        "hyperparameters": search_space(hparams, objective=settings.objective, side=side),
        "seed": seed + 1,  # 0 would mean a random one
    }
    if settings.algorithm == "hyperband":
        # As many rounds as the budget allows.
        return _Hyperband(
            max_epochs=settings.epochs or hparams.epochs, hyperband_iterations=None, **common
        )
    # keras-tuner's own number of random trials, 24 here, would be most of a search.
    return _Bayesian(num_initial_points=max(3, settings.max_trials // 3), **common)
