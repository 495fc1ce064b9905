"""How often the release policy refuses a good model and releases a bad one, by simulation.

Synopsis::

    setting = Setting(rows=10_000, num_classes=10, accuracy=0.994, discordance=0.0047)
    (equal, worse) = operating_curve(setting, policy, drops=[0.0, 0.005], simulations=1000, seed=0)
    equal.refusal, worse.release        # 0.074, 0.0
    equal.refused_by["max_drop"]        # 72 of 1000

Test sets are drawn at random, and the gate itself (`components.gate.decide`) decides on each. Each
test image is predicted right by both models, only by the served one (lost), only by the candidate
(gained), or by neither. Equally good models lose and gain half of the discordance each. A model
that is worse by d loses d more and gains no more: the same drop among more discordant images would
be harder to detect. Images are independent and alike, so no class and no slice is harder than
another.

Checks that judge by more than right and wrong predictions, such as that of the cross-entropy, are
assumed to pass (`components.gate.decide.GateCheck.simulated`).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.gate.check import passed
from components.gate.decide import decide
from components.gate.evidence import Evidence, Provenance, Tally
from components.gate.policy import Policy
from components.gate.statistics import proportion_interval

_Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Setting:
    """The test set and the models on which the gate decides.

    Attributes:
      rows: test images, at least one per class; classes have equally many, and so have the bands of
        a slice.
      num_classes: at least 2.
      accuracy: that of the served model, 0..1.
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
        """The fraction of the images that the served model predicts wrong, 0..1."""
        return round(1.0 - self.accuracy, 12)  # 1 - 0.9 is 0.09999999999999998

    def probabilities(self, drop: float) -> tuple[float, float, float, float]:
        """Returns those of an image that both get right, is lost, is gained, both get wrong.

        Raises:
          ValueError: no candidate can be worse than the served model by that drop.
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
    """The gate's decisions on candidates that are worse by the same drop.

    Attributes:
      drop: how much worse they are than the served model, 0..1.
      simulations: candidates.
      refused: candidates that were refused.
      refused_by: candidates that failed a check of each kind, such as "floor" or "class_change";
        several kinds may refuse the same one.
    """

    drop: float
    simulations: int
    refused: int
    refused_by: Mapping[str, int]

    @property
    def release(self) -> float:
        """The fraction of the candidates that were released."""
        return 1.0 - self.refusal

    @property
    def refusal(self) -> float:
        return self.refused / self.simulations

    @property
    def refusal_by(self) -> dict[str, float]:
        return {kind: count / self.simulations for kind, count in self.refused_by.items()}

    @property
    def release_interval(self) -> tuple[float, float]:
        """The exact 95 % confidence interval of the probability of a release."""
        return proportion_interval(self.simulations - self.refused, self.simulations)


def operating_curve(
    setting: Setting,
    policy: Policy,
    *,
    drops: Sequence[float],
    simulations: int,
    seed: int,
    decision: int = 1,
) -> list[Point]:
    """Estimates how often the gate refuses candidates that are worse by each of the drops.

    Args:
      setting: the test set and the models.
      policy: that of the gate.
      drops: each 0..1; 0 is a candidate as good as the served model.
      simulations: number of test sets that are drawn for each drop, 1 or more.
      seed: seed of the draws.
      decision: the number of each decision on its test set, from 1.

    Raises:
      ValueError: no candidate can be worse by one of the drops.
    """
    each = [setting.probabilities(drop) for drop in drops]
    rows = rows_by_group(setting, policy)  # [K, bands, ...]
    sound = Provenance(setting.rows, "simulated", "simulated", "simulated", "simulated")
    rng = np.random.default_rng(seed)
    points = []
    for drop, probabilities in zip(drops, each, strict=True):
        refused, refused_by = 0, Counter[str]()
        for _ in range(simulations):
            counted = evidence(rng.multinomial(rows, probabilities), policy)
            made = decide(counted, policy, provenance=sound, decision=decision, simulated=True)
            refused += not passed(made)
            refused_by.update({check.kind: 0 for check in made})
            refused_by.update({check.kind for check in made if not check.passed})
        points.append(Point(drop, simulations, refused, dict(refused_by)))
    return points


def rows_by_group(setting: Setting, policy: Policy) -> _Counts:
    """Shares the images among classes and bands evenly: [K] and an axis for each slice."""
    shape = (setting.num_classes, *(len(bands.names) for bands in policy.slices))
    groups = math.prod(shape)
    bounds = np.arange(groups + 1) * setting.rows // groups
    return np.diff(bounds).reshape(shape)


def evidence(drawn: _Counts, policy: Policy) -> Evidence:
    """Adds up a drawn test set.

    Args:
      drawn: [K, bands, ..., 4] numbers of images that are right by both models, lost, gained, and
        wrong by both.
      policy: of which the slices are used.
    """

    def tallies(axis: int | None = None) -> list[Tally]:
        """Returns a tally for each class or band on an axis, or one for all images."""
        others = tuple(other for other in range(drawn.ndim - 1) if other != axis)
        counts = drawn.sum(axis=others).reshape(-1, 4).tolist()
        return [
            Tally(both + lost + gained + neither, both + gained, lost=lost, gained=gained)
            for both, lost, gained, neither in counts
        ]

    return Evidence(
        overall=tallies()[0],
        classes={str(label): tally for label, tally in enumerate(tallies(0))},
        slices={
            name: tally
            for axis, bands in enumerate(policy.slices, start=1)
            for name, tally in zip(bands.names, tallies(axis), strict=True)
        },
        cross_entropy=0.0,
        top_2_accuracy=math.nan,
        compared=True,
    )
