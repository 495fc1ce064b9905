"""The settings of a search for hyper-parameters, which check themselves."""

from __future__ import annotations

import dataclasses

from trainer.host.fields import check, setting


@dataclasses.dataclass(frozen=True)
class TuningConfig:
    """The search that comes before the training."""

    enabled: bool = setting(False, "whether there is a search")
    algorithm: str = setting(
        "bayesian",
        "bayesian (a Gaussian process over finished trials), or hyperband (many short trials, the "
        "best ones again with more epochs: Li et al. 2018, arXiv 1603.06560)",
        choices=("bayesian", "hyperband"),
    )
    objective: str = setting(
        "accuracy",
        "the highest accuracy or the lowest loss (cross-entropy) on eval; for the loss "
        "label_smoothing is not searched, since it raises the loss",
        choices=("accuracy", "loss"),
    )
    max_trials: int = setting(20, "trials at most", ge=1)
    max_minutes: float | None = setting(
        None,
        "minutes after which no trial but the first begins, those of an interrupted search "
        "included",
        gt=0,
    )
    epochs: int | None = setting(
        None,
        "epochs of a trial, or with hyperband of the longest trials; none takes training.epochs",
        ge=1,
    )
    parallel_trials: int = setting(1, "processes that train trials at the same time", ge=1)

    def __post_init__(self) -> None:
        check(self, "tuning")
