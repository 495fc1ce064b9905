"""What a search for hyper-parameters is told, frozen and self-checking.

Synopsis::

    settings = TuningConfig(enabled=True, algorithm="hyperband", max_trials=30)
    TuningConfig(**dataclasses.asdict(settings)) == settings
"""

from __future__ import annotations

import dataclasses
import math

from trainer.host.text import quoted

ALGORITHMS = ("bayesian", "hyperband")
OBJECTIVES = ("accuracy", "loss")


@dataclasses.dataclass(frozen=True)
class TuningConfig:
    """The search that comes before the training.

    Attributes:
      enabled: whether there is one.
      algorithm: "bayesian" (a Gaussian process over finished trials), or "hyperband" (many short
        trials, the best ones again with more epochs: Li et al. 2018, arXiv 1603.06560).
      objective: what is looked for on `eval`: the highest "accuracy" or the lowest "loss"
        (cross-entropy). The latter is not searched over `label_smoothing`, which raises it.
      max_trials: no more than so many trials; 1 or more.
      max_minutes: no new trial begins after so many minutes, those of an interrupted search
        included; None for no limit.
      epochs: of a trial, with "hyperband" of the longest ones; None for those of the training.
      parallel_trials: processes that train trials at the same time; 1 or more.
    """

    enabled: bool = False
    algorithm: str = "bayesian"
    objective: str = "accuracy"
    max_trials: int = 20
    max_minutes: float | None = None
    epochs: int | None = None
    parallel_trials: int = 1

    def __post_init__(self) -> None:
        for name, known in (("algorithm", ALGORITHMS), ("objective", OBJECTIVES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"tuning.{name} is {quoted(value)}, expected one of {', '.join(known)}"
                )
        for name in ("max_trials", "epochs", "parallel_trials"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"tuning.{name} is {value}, expected 1 or more")
        if self.max_minutes is not None and not 0.0 < self.max_minutes < math.inf:
            raise ValueError(f"tuning.max_minutes is {self.max_minutes}, expected above 0")

    @property
    def metric(self) -> str:
        """What a trial's result calls the objective."""
        return f"eval_{self.objective}"
