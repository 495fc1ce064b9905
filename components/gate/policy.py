"""The release policy: the thresholds that a model must hold, and how decisions share the error.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.003)
    policy.release_alpha(1)     # 0.00455: of the first decision on a test set
    policy.release_alpha(100)   # 0.00004: of the hundredth; those of all decisions sum to 0.05
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from components.gate.slices import Bands


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """What a model must hold on the test split. docs/gate.md gives reasons and sources.

    Its fields are the keys `gate.*` of the configuration; None stands for the data set's own value
    (`pipeline.config.policy_for`).

    Attributes:
      floor: accuracy over all examples that the confidence bound must reach, 0..1.
      class_floor: accuracy over the examples of each class, and of each slice, that the counts
        must not contradict, 0..1.
      max_cross_entropy: largest mean cross-entropy over all examples, nats, 0 or more.
      max_drop: largest loss of accuracy against the served model that the confidence bound may
        leave open, 0..1.
      slices: further groups of examples that are held like classes.
      must_improve: whether the candidate must be shown to be better than the served model, where
        it otherwise must not be shown to be worse.
      min_slice_rows: a slice with fewer examples is not judged.
      confidence: above 0.5 and below 1. 1 - confidence, alpha, is the level of each test or family
        of tests that refuses a model for being shown to be bad, and the probability that of all
        decisions on one test set any releases a bad model (`Policy.release_alpha`).
      test_budget: decisions on one test set that are planned for, 1 or more: they may spend half
        of that probability, all further ones together the other half.
      allow_missing_baseline: whether a model may ship though what is served cannot be read.
    """

    floor: float | None = None
    class_floor: float | None = None
    max_cross_entropy: float | None = None
    max_drop: float | None = None
    slices: tuple[Bands, ...] | None = None
    must_improve: bool = False
    min_slice_rows: int = 100
    confidence: float = 0.95
    test_budget: int = 10
    allow_missing_baseline: bool = False

    def __post_init__(self) -> None:
        for name in ("floor", "class_floor", "max_drop"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"gate.{name} is {value}, expected a fraction from 0 to 1: 0.99 stands for 99 %"
                )
        most = self.max_cross_entropy
        if most is not None and not 0.0 <= most < math.inf:
            raise ValueError(f"gate.max_cross_entropy is {most}, expected nats, 0 or more")
        if not 0.5 < self.confidence < 1.0:
            raise ValueError(
                f"gate.confidence is {self.confidence}, expected above 0.5 and below 1: 0.95 "
                "stands for 95 %"
            )
        for name in ("min_slice_rows", "test_budget"):
            if getattr(self, name) < 1:
                raise ValueError(f"gate.{name} is {getattr(self, name)}, expected 1 or more")
        features = [bands.feature for bands in self.slices or ()]
        if len(set(features)) != len(features):
            raise ValueError("gate.slices names a feature twice, expected one list of edges each")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy(GateConfig):
    """A `GateConfig` for one data set, with every value known."""

    floor: float
    class_floor: float
    max_cross_entropy: float
    max_drop: float
    slices: tuple[Bands, ...] = ()

    @property
    def alpha(self) -> float:
        """Level of each test, and of each family of tests."""
        # 1 - 0.95 is 0.05000000000000004.
        return round(1.0 - self.confidence, 12)

    @property
    def allowed_error(self) -> float:
        """Fraction of a class, or of a slice, that may be wrong, 0..1."""
        return round(1.0 - self.class_floor, 12)

    def release_alpha(self, decision: int) -> float:
        """Largest probability that the k-th decision on one test set releases a bad model.

        Each test whose error is such a release holds this level. With b for the test budget it is
        alpha b / ((k + b - 1)(k + b)), which is alpha b (1/(k + b - 1) - 1/(k + b)): the first n
        decisions spend alpha n / (n + b), which is half of alpha for b of them, and never more than
        alpha.

        Args:
          decision: k, from 1.
        """
        budget = self.test_budget
        return self.alpha * budget / ((decision + budget - 1) * (decision + budget))

    def to_config(self) -> dict[str, Any]:
        """As JSON-able values, for TFX's parameters and the release record."""
        return {**dataclasses.asdict(self), "slices": [str(bands) for bands in self.slices]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Policy:
        return cls(**{**config, "slices": tuple(Bands.parse(text) for text in config["slices"])})


def promised_cross_entropy(floor: float, num_classes: int) -> float:
    """The cross-entropy of a model that is as good as the floor, and knows it, in nats.

    It gives its answer the probability `floor`, shares the rest among the other classes alike, and
    is right in that fraction of the cases: -f ln f - (1 - f) ln((1 - f) / (K - 1)). A model with
    more is too sure where it errs, or unsure where it is right, as one that was trained on
    wrong labels: its accuracy may hold the floor, but nobody can act on its probabilities.

    Args:
      floor: accuracy f, 0..1; below chance it counts as chance.
      num_classes: K, at least 2.
    """
    f = max(floor, 1.0 / num_classes)
    if f >= 1.0:
        return 0.0
    return -f * math.log(f) - (1.0 - f) * math.log((1.0 - f) / (num_classes - 1))
