"""The results of a search as plain values; nothing here needs keras-tuner."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.hparams import HParams

COMPLETED = "completed"
FAILED = "failed"  # its loss was no number, or its network did not fit into memory

# Files in the TunerResults artifact, and TFX's own in the HyperParameters artifact.
TABLE = "trials.json"
PLOT = "trials.png"
_BEST = "best_hyperparameters.txt"

EXTRA = "extra."  # prefix of hyper-parameters that a plugin or the user's own network declares

_KERAS_TUNERS_OWN = "tuner/"  # hyperband writes such keys between the hyper-parameters


class NoneCompleted(ValueError):
    """No trial of the search was completed."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search; of a failed one the last three values are None.

    Attributes:
      number: 1 for the first trial, which has the hyper-parameters from which the search started.
      values: the hyper-parameters that were searched over, by name.
      eval_accuracy: 0..1, after the last epoch.
      eval_loss: mean cross-entropy on `eval`, nats.
    """

    number: int
    status: str
    values: Mapping[str, Any]
    epochs: int
    eval_accuracy: float | None = None
    eval_loss: float | None = None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Results:
    """All ended trials of a search in order; the objective is "accuracy" or "loss"."""

    objective: str
    trials: tuple[Trial, ...]

    def score(self, trial: Trial) -> float | None:
        """Returns the objective on `eval`; None for a failed trial."""
        return trial.eval_accuracy if self.objective == "accuracy" else trial.eval_loss

    def ranked(self) -> list[Trial]:
        """Best trials first, equal ones in order, failed ones last; raises `NoneCompleted`."""
        sign = -1.0 if self.objective == "accuracy" else 1.0
        scores = {trial.number: self.score(trial) for trial in self.trials}
        costs = {number: sign * score for number, score in scores.items() if score is not None}
        if not costs:
            raise NoneCompleted(
                f"none of the {len(self.trials)} trials of the search was completed: no finite "
                "loss, or memory ran out, as their lines say; set training.learning_rate, "
                "training.per_replica_batch or training.width lower"
            )
        return sorted(self.trials, key=lambda trial: costs.get(trial.number, float("inf")))

    @property
    def best(self) -> Trial:
        return self.ranked()[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "objective": self.objective,
            "best": self.best.number,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        return cls(values["objective"], tuple(Trial(**trial) for trial in values["trials"]))


def read_results(folder: Path) -> Results:
    """Reads the trials from the directory of a TunerResults artifact."""
    return Results.from_dict(json.loads((folder / TABLE).read_text(encoding="utf-8")))


def read_best(folder: Path) -> dict[str, Any]:
    """Reads the values of the best trial from the directory of a HyperParameters artifact."""
    return searched(json.loads((folder / _BEST).read_text(encoding="utf-8"))["values"])


def searched(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a keras-tuner trial without keras-tuner's own."""
    return {name: value for name, value in values.items() if not name.startswith(_KERAS_TUNERS_OWN)}


def tuned(hparams: HParams, values: Mapping[str, Any]) -> HParams:
    """Replaces hyper-parameters by the values of a keras-tuner trial."""
    return type(hparams)(**replaced(hparams.to_config(), searched(values)))


def replaced(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces values of `HParams.to_config()`; `extra.NAME` are those of its `extra`."""
    extra = {
        name.removeprefix(EXTRA): value for name, value in values.items() if name.startswith(EXTRA)
    }
    fields = {name: value for name, value in values.items() if not name.startswith(EXTRA)}
    return {**config, **fields, "extra": {**config["extra"], **extra}}


def text_of(value: Any) -> str:
    """Returns the value of a hyper-parameter in few digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)
