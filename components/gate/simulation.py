"""How often the release policy refuses a good model and passes a bad one, by simulation.

Synopsis::

    setting = Setting(rows=10_000, num_classes=10, accuracy=0.994, discordance=0.0047)
    (equal, worse) = operating_curve(setting, policy, drops=[0.0, 0.005], simulations=1000, seed=0)
    equal.refusal, worse.release        # 0.074, 0.0
    equal.refused_by["max_drop"]        # 72 of 1000

Test sets are drawn, and each is put before the gate itself, `components.gate.decide`. On each test
image either both models are right, or only the served one (the image is lost), or only the
candidate (it is gained), or neither is. Two equally good models lose and gain half of the
discordance each. A model that is worse by d loses d more and gains no more: the same loss spread
over more discordant images would be harder to see. Images are drawn one by one with the same
probabilities, so no class and no slice is harder than another.

Cross-entropy and the checks of integrity are not simulated: they are taken as passed.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.gate import statistics
from components.gate.check import Check, passed
from components.gate.decide import decide
from components.gate.evidence import Evidence, Provenance, Tally
from components.gate.policy import Policy

_TAKEN_AS_PASSED = ("integrity", "test_budget", "cross_entropy")
_TAIL = 0.975  # each end of a two-sided 95 % interval

_Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where the gate has to decide.

    Attributes:
      rows: test images, at least one per class; classes, and the bands of a slice, have as many as
        each other.
      num_classes: at least 2.
      accuracy: of the served model, 0..1.
      discordance: fraction of the test images on which exactly one of two equally good models is
        right, 0..1.
    """

    rows: int
    num_classes: int
    accuracy: float
    discordance: float

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"{self.num_classes} classes, expected 2 or more")
        if self.rows < self.num_classes:
            raise ValueError(
                f"{self.rows:,} test images of {self.num_classes:,} classes, expected at least one "
                "of each"
            )
        for name in ("accuracy", "discordance"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"the {name} is {value}, expected a fraction from 0 to 1")
        if self.discordance / 2 > self.error:
            raise ValueError(
                f"the discordance is {self.discordance:g}, expected at most {2 * self.error:g}: of "
                f"two models with an accuracy of {self.accuracy:g}, each is wrong on no more than "
                f"{self.error:g} of the images"
            )

    @property
    def error(self) -> float:
        """Of the served model, 0..1."""
        # 1 - 0.9 is 0.09999999999999998.
        return round(1.0 - self.accuracy, 12)

    def probabilities(self, drop: float) -> tuple[float, float, float, float]:
        """Of an image that both get right, that is lost, that is gained, that both get wrong.

        Args:
          drop: how much worse the candidate is than the served model, 0..1.

        Raises:
          ValueError: there is no such candidate.
        """
        half = self.discordance / 2
        if not 0.0 <= drop <= self.accuracy - half:
            raise ValueError(
                f"the drop is {drop:g}, expected 0 to {self.accuracy - half:.4g}: what the served "
                "model gets right and an equally good one would too"
            )
        return (self.accuracy - half - drop, half + drop, half, self.error - half)


@dataclasses.dataclass(frozen=True)
class Point:
    """What the gate said of candidates that are worse by one drop.

    Attributes:
      drop: how much worse they are than the served model, 0..1.
      simulations: how many were put before the gate.
      refused: how many of them it refused.
      refused_by: of how many of them a check of each kind failed, such as "floor" or
        "class_change"; several may fail at once.
    """

    drop: float
    simulations: int
    refused: int
    refused_by: Mapping[str, int]

    @property
    def release(self) -> float:
        """Estimated probability of a release, 0..1."""
        return 1.0 - self.refusal

    @property
    def refusal(self) -> float:
        """Estimated probability of a refusal, 0..1."""
        return self.refused / self.simulations

    @property
    def refusal_by(self) -> dict[str, float]:
        """Estimated probability that a check of that kind fails, 0..1."""
        return {kind: count / self.simulations for kind, count in self.refused_by.items()}

    @property
    def release_interval(self) -> tuple[float, float]:
        """Where that probability lies with 95 % confidence, exactly."""
        released = self.simulations - self.refused
        return (
            statistics.clopper_pearson_lower(released, self.simulations, _TAIL),
            1.0 - statistics.clopper_pearson_lower(self.refused, self.simulations, _TAIL),
        )


def operating_curve(
    setting: Setting,
    policy: Policy,
    *,
    drops: Sequence[float],
    simulations: int,
    seed: int,
    decision: int = 1,
) -> list[Point]:
    """How often the gate refuses candidates that are worse by each of the drops.

    Args:
      setting: the test set and the models.
      policy: the gate's.
      drops: each 0..1; 0 is a candidate as good as the served model.
      simulations: test sets that are drawn for each drop, 1 or more.
      seed: of the draws.
      decision: how many decisions on its test set each one makes, from 1.

    Raises:
      ValueError: there is no candidate with such a drop.
    """
    each = [setting.probabilities(drop) for drop in drops]
    rng = np.random.default_rng(seed)
    return [
        _point(setting, policy, drop, probabilities, simulations, decision, rng)
        for drop, probabilities in zip(drops, each, strict=True)
    ]


def _point(
    setting: Setting,
    policy: Policy,
    drop: float,
    probabilities: Sequence[float],
    simulations: int,
    decision: int,
    rng: np.random.Generator,
) -> Point:
    rows = rows_by_group(setting, policy)  # [K, bands, ...]
    sound = Provenance(setting.rows, "simulated", "simulated", "simulated", "simulated")
    refused, refused_by = 0, Counter[str]()
    for _ in range(simulations):
        drawn = rng.multinomial(rows, probabilities)  # [K, bands, ..., 4]
        made = decide(evidence(drawn, policy), policy, provenance=sound, decision=decision)
        refused += not passed(made)
        refused_by.update(_failures(made))
    return Point(drop, simulations, refused, refused_by)


def _failures(checks: Iterable[Check]) -> dict[str, int]:
    """{kind of check: 1 where one of that kind failed, or else 0}."""
    failures: dict[str, int] = {}
    for check in checks:
        if check.kind not in _TAKEN_AS_PASSED:
            failures[check.kind] = max(failures.get(check.kind, 0), int(not check.passed))
    return failures


def rows_by_group(setting: Setting, policy: Policy) -> _Counts:
    """Test images in each class and band: [K] and one axis for each of the policy's slices.

    As equal as whole numbers allow: classes among each other first.
    """
    shape = (setting.num_classes, *(len(bands.names) for bands in policy.slices))
    groups = math.prod(shape)
    bounds = np.arange(groups + 1) * setting.rows // groups
    return np.diff(bounds).reshape(shape)


def evidence(drawn: _Counts, policy: Policy) -> Evidence:
    """What was drawn, as the Evaluator would have counted it.

    Args:
      drawn: [K, bands, ..., 4] images that both models get right, that are lost, that are gained,
        that both get wrong; as `rows_by_group` but for the last axis.
      policy: its slices.
    """
    return Evidence(
        overall=_tally(_sums(drawn)),
        classes={str(label): _tally(counts) for label, counts in enumerate(_sums(drawn, 0))},
        slices={
            name: _tally(counts)
            for axis, bands in enumerate(policy.slices, start=1)
            for name, counts in zip(bands.names, _sums(drawn, axis), strict=True)
        },
        cross_entropy=0.0,
        top_2_accuracy=math.nan,
        compared=True,
    )


def _sums(drawn: _Counts, kept: int | None = None) -> list:
    """Counts over all axes but one, and the last one: [kept, 4], or [4]."""
    summed = tuple(axis for axis in range(drawn.ndim - 1) if axis != kept)
    return drawn.sum(axis=summed).tolist()


def _tally(counts: Sequence[int]) -> Tally:
    both, lost, gained, neither = counts
    return Tally(
        rows=both + lost + gained + neither, correct=both + gained, lost=lost, gained=gained
    )
