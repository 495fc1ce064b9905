"""How often the release policy refuses a good model and releases a bad one, by simulation.

Synopsis::

    setting = Setting(rows=10_000, num_classes=10, accuracy=0.994, discordance=0.0047)
    (equal, worse) = operating_curve(setting, policy, drops=[0.0, 0.005], simulations=1000, seed=0)
    equal.refusal, worse.release        # 0.074, 0.0

The gate itself decides on random test sets; docs/gate-check.md states how they are drawn. Checks
that are not `components.gate.decide.GateCheck.simulated` are assumed to pass.
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
from components.gate.evidence import Case, Evidence, Tally
from components.gate.policy import Policy
from components.gate.statistics import proportion_interval

_Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Setting:
    """The test set, of two classes or more, and the models on which the gate decides.

    All classes, and all bands of a slice, have equally many of the `rows`. The accuracy is that of
    the served model; the discordance is the fraction of the images on which exactly one of two
    equally good models is right. Both are 0..1.
    """

    rows: int
    num_classes: int
    accuracy: float
    discordance: float

    def __post_init__(self) -> None:
        if self.rows < self.num_classes:
            raise ValueError(
                f"{self.rows:,} test images of {self.num_classes:,} classes, expected at least one "
                "of each"
            )
        most = 2 * min(self.error, self.accuracy)
        if self.discordance > most:
            raise ValueError(
                f"the discordance is {self.discordance:g}, expected at most {most:g}: two models "
                f"with an accuracy of {self.accuracy:g} differ on no more of the images"
            )

    @property
    def error(self) -> float:
        return round(1.0 - self.accuracy, 12)  # 1 - 0.9 is 0.09999999999999998

    def probabilities(self, drop: float) -> tuple[float, float, float, float]:
        """Of an image that both models get right, that is lost, is gained, and that both get wrong.

        A ValueError says that no candidate can be worse than the served model by that drop.
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
    """The gate's decisions on `simulations` candidates that are worse by the same drop.

    `refused_by` counts those that failed a check of each kind; one may fail several.
    """

    drop: float
    simulations: int
    refused: int
    refused_by: Mapping[str, int]

    @property
    def release(self) -> float:
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
    """Estimates how often the gate refuses candidates that are worse by each of the drops, 0..1.

    `simulations` test sets are drawn for each drop, and the gate makes its k-th decision on each, k
    being `decision`, from 1. A ValueError says that no candidate can be worse by one of the drops.
    """
    each = [setting.probabilities(drop) for drop in drops]
    rows = rows_by_group(setting, policy)  # [K, bands, ...]
    rng = np.random.default_rng(seed)
    points = []
    for drop, probabilities in zip(drops, each, strict=True):
        refused, refused_by = 0, Counter[str]()
        for _ in range(simulations):
            counted = evidence(rng.multinomial(rows, probabilities), policy)
            made = decide(Case(counted, policy, None, decision), simulated=True)
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
    """Adds up numbers of images [K, bands, ..., 4]: both models right, lost, gained, both wrong."""

    def tallies(axis: int | None = None) -> list[Tally]:
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
