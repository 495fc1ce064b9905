"""keras-tuner's oracles, which propose the trials, with a budget and a first trial of our own.

Synopsis::

    oracle = make_oracle(TuningConfig(algorithm="hyperband"), HParams(), seed=3)
"""

from __future__ import annotations

import math
import time
from typing import Any

import keras_tuner
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle

from trainer import progress
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig
from trainer.tuning.space import search_space
from trainer.tuning.trials import searched


class _WithBudget(keras_tuner.Oracle):
    """Over an oracle of keras-tuner: the budget of time, the first trial, lines for who watches.

    `heard_at` tells when a trial was last asked for or ended.

    The first trial has the hyper-parameters that the search starts from, so that what is found was
    better on `eval` than those.
    """

    def __init__(self, *, max_trials: int, max_seconds: float, metric: str, **kwargs: Any) -> None:
        direction = "max" if metric == "eval_accuracy" else "min"
        super().__init__(
            objective=keras_tuner.Objective(metric, direction),
            # A trial that fails is a point to stay away from, not a reason to end the search.
            max_consecutive_failed_trials=max_trials + 1,
            **kwargs,
        )
        self.max_trials = max_trials  # HyperbandOracle does not take it
        self._max_seconds = max_seconds
        self._seconds_before = 0.0
        self._since = time.monotonic()
        self.heard_at: float | None = None  # of time.monotonic()

    @property
    def _seconds_used(self) -> float:
        return self._seconds_before + time.monotonic() - self._since

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next trial's values, or the end of the search."""
        if self._seconds_used >= self._max_seconds:
            return {"status": "STOPPED", "values": None}
        proposed = super().populate_space(trial_id)
        if proposed["status"] == "RUNNING" and not self.trials:
            proposed["values"].update({hp.name: hp.default for hp in self.hyperparameters.space})
        return proposed

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """As keras-tuner's own; says what is tried."""
        self.heard_at = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            values = searched(trial.hyperparameters.values)
            progress.LOGGER.info(
                "trial %d: %s",
                int(trial.trial_id) + 1,
                ", ".join(f"{name} {value:g}" for name, value in values.items()),
            )
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """As keras-tuner's own; says what came of it."""
        self.heard_at = time.monotonic()
        super().end_trial(trial)
        self.save()  # keras-tuner did while the trial still counted as one that runs
        ended, name = self.trials[trial.trial_id], self.objective.name
        score = "failed" if ended.score is None else f"{_words(name)} {ended.score:.4f}"
        line = f"trial {int(trial.trial_id) + 1}: {score}"
        best = self.get_best_trials()[0]
        if best.score is not None:
            line += f", best {best.score:.4f} (trial {int(best.trial_id) + 1})"
        progress.LOGGER.info(line)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "seconds_used": self._seconds_used}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        # keras-tuner reads them in any order, and a Gaussian process makes a difference of that.
        in_order = sorted(self.trials, key=int)
        self.trials: dict[str, Any] = {name: self.trials[name] for name in in_order}
        self._seconds_before = state["seconds_used"]
        self._since = time.monotonic()


def _words(metric: str) -> str:
    return metric.replace("_", " ")


class _Bayesian(_WithBudget, BayesianOptimizationOracle):
    pass


class _Hyperband(_WithBudget, HyperbandOracle):
    pass


def make_oracle(settings: TuningConfig, hparams: HParams, *, seed: int) -> keras_tuner.Oracle:
    """The oracle of the settings, over the space around `hparams`."""
    common: dict[str, Any] = {
        "max_trials": settings.max_trials,
        "max_seconds": 60 * (settings.max_minutes or math.inf),
        "metric": settings.metric,
        "hyperparameters": search_space(hparams, objective=settings.objective),
        "seed": seed + 1,  # 0 would mean a random one
    }
    if settings.algorithm == "hyperband":
        # As many rounds as the budget allows.
        return _Hyperband(
            max_epochs=settings.epochs or hparams.epochs, hyperband_iterations=None, **common
        )
    # keras-tuner's own number of random trials, 24 here, would be most of a search.
    return _Bayesian(num_initial_points=max(3, settings.max_trials // 3), **common)
