"""The trials of a search as plain values: what each tried, and what came of it.

Synopsis::

    trial = Trial(number=1, status=COMPLETED, values={"dropout": 0.3}, epochs=5, ...)
    best(trials, "accuracy").values
    tuned(HParams(), trial.values)      # the hyper-parameters to train with

Nothing here needs keras-tuner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.hparams import HParams

COMPLETED = "completed"
FAILED = "failed"  # its loss was no number, or its network did not fit into memory

_KERAS_TUNERS_OWN = "tuner/"  # hyperband writes such keys between the hyper-parameters


class NoneCompleted(ValueError):
    """A search without any trial that was completed."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
      number: 1 for the first one, which has the hyper-parameters that the search started from.
      status: "completed" or "failed".
      values: the hyper-parameters that were searched over, by name.
      epochs: that it trained for.
      eval_accuracy: on `eval` at its end, 0..1; None when it failed, as with the next two.
      eval_loss: mean cross-entropy on `eval`, in nats.
      seconds: that it took.
    """

    number: int
    status: str
    values: Mapping[str, Any]
    epochs: int
    eval_accuracy: float | None = None
    eval_loss: float | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Results:
    """What a search came to.

    Attributes:
      objective: "accuracy" or "loss".
      trials: in order, at least one of them completed.
    """

    objective: str
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The first of the best completed trials."""
        return best(self.trials, self.objective)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; "best" is a trial's number."""
        return {
            "objective": self.objective,
            "best": self.best.number,
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        return cls(values["objective"], tuple(map(Trial.from_dict, values["trials"])))


def best(trials: Sequence[Trial], objective: str) -> Trial:
    """The first of the best completed trials.

    Raises:
      NoneCompleted: none was.
    """
    return ranked(trials, objective)[0]


def ranked(trials: Sequence[Trial], objective: str) -> list[Trial]:
    """Trials from the best to the worst, the failed ones last.

    Args:
      trials: at least one, in any order.
      objective: "accuracy" or "loss".

    Raises:
      NoneCompleted: none was.
    """
    completed = [trial for trial in trials if trial.status == COMPLETED]
    if not completed:
        raise NoneCompleted(
            f"none of the {len(trials)} trials of the search was completed: no finite loss, "
            "or memory ran out; set training.learning_rate or training.width lower"
        )
    completed.sort(key=lambda trial: (_cost(trial, objective), trial.number))
    return completed + [trial for trial in trials if trial.status != COMPLETED]


def _cost(trial: Trial, objective: str) -> float:
    if objective == "accuracy":
        assert trial.eval_accuracy is not None
        return -trial.eval_accuracy
    assert trial.eval_loss is not None
    return trial.eval_loss


def searched(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a keras-tuner trial without keras-tuner's own, numbers to four digits."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in values.items()
        if not name.startswith(_KERAS_TUNERS_OWN)
    }


def tuned(hparams: HParams, values: Mapping[str, Any]) -> HParams:
    """Hyper-parameters with the values of a keras-tuner trial in their places."""
    return dataclasses.replace(hparams, **searched(values))
