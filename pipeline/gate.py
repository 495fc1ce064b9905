"""The release policy: which model may ship, as pure functions over what the Evaluator counted.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.002)
    checks = decide(candidate, baseline=None, policy=policy)
    released = all(check.passed for check in checks)

Neither TFX nor TensorFlow is imported here. `components.evaluation` carries the same thresholds
into TFMA's EvalConfig and holds both decisions against each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

# Metrics are float32 in places: a bound counts as held when less than one example in a million
# is missing.
TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Check:
    """One question that a gate asks, with its answer.

    Attributes:
      name: stable and dotted, such as "accuracy", "class.7" or "data.overlap".
      passed: the answer.
      actual: what was found, in the unit of the check; None where there is nothing to measure.
      required: the bound or value it was held against; None where none applies.
      sentence: the same for a person, with numbers and, when it failed, a remedy.
    """

    name: str
    passed: bool
    actual: float | str | None
    required: float | str | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Check:
        return cls(**fields)


class Refused(Exception):
    """A gate said no, so that nothing more is to be done.

    Attributes:
      checks: all that were made, the failed ones first.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(sorted(checks, key=lambda check: check.passed))
        # Exactly the constructor's arguments, so that the exception survives pickling.
        super().__init__(self.checks)

    def __str__(self) -> str:
        failed = [check.sentence for check in self.checks if not check.passed]
        return f"refused, {len(failed)} of {len(self.checks)} checks failed: " + "; ".join(failed)


@dataclasses.dataclass(frozen=True)
class Policy:
    """Thresholds on the test split.

    Attributes:
      floor: least accuracy over all examples, 0..1.
      class_floor: least accuracy over the examples of each class, 0..1.
      max_cross_entropy: largest mean cross-entropy over all examples, nats, 0 or more.
      max_drop: largest loss of accuracy against the served model, 0..1.
    """

    floor: float
    class_floor: float
    max_cross_entropy: float
    max_drop: float

    def __post_init__(self) -> None:
        for name in ("floor", "class_floor", "max_drop"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"gate.{name} is {value}, expected a fraction from 0 to 1: 0.99 stands for 99 %"
                )
        if not 0.0 <= self.max_cross_entropy < math.inf:
            raise ValueError(
                f"gate.max_cross_entropy is {self.max_cross_entropy}, expected nats, 0 or more"
            )


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


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the Evaluator measured for one model on the test split.

    Attributes:
      rows: number of examples.
      accuracy: fraction of them that the most probable class gets right, 0..1.
      top_2_accuracy: fraction whose label is among the two most probable classes, 0..1.
      cross_entropy: mean of -ln(probability of the label), nats.
      by_class: accuracy over the examples of each class, keyed by class name.
      class_rows: number of examples of each class, keyed by class name.
    """

    rows: int
    accuracy: float
    top_2_accuracy: float
    cross_entropy: float
    by_class: Mapping[str, float]
    class_rows: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        return cls(**fields)


def decide(candidate: Evaluation, baseline: Evaluation | None, policy: Policy) -> tuple[Check, ...]:
    """Holds the candidate against the policy; it may ship when every check passed.

    A NaN fails each check that it enters, because no comparison with it is true.
    """
    checks = [
        _floor_check("accuracy", "accuracy", candidate.accuracy, policy.floor, "gate.floor"),
        *(
            _floor_check(
                f"class.{name}",
                f"accuracy of class {name}",
                accuracy,
                policy.class_floor,
                "gate.class_floor",
            )
            for name, accuracy in candidate.by_class.items()
        ),
        _cross_entropy_check(candidate.cross_entropy, policy.max_cross_entropy),
        _baseline_check(candidate, baseline, policy.max_drop),
    ]
    return tuple(checks)


def passed(checks: Sequence[Check]) -> bool:
    """Whether all of them passed; an empty list proves nothing and does not pass."""
    return bool(checks) and all(check.passed for check in checks)


def _floor_check(name: str, what: str, actual: float, floor: float, key: str) -> Check:
    holds = actual >= floor - TOLERANCE
    sentence = (
        f"{what} is {actual:.4f}, at least {floor:.4f}"
        if holds
        else f"{what} is {actual:.4f}, required is {floor:.4f} or more: train longer, look at "
        f"the data, or set {key}"
    )
    return Check(name, holds, actual, floor, sentence)


def _cross_entropy_check(actual: float, bound: float) -> Check:
    holds = actual <= bound + TOLERANCE
    sentence = (
        f"cross-entropy is {actual:.4f}, at most {bound:.4f}"
        if holds
        else f"cross-entropy is {actual:.4f}, required is {bound:.4f} or less: the probabilities "
        "are worse than the floor promises; look for wrong labels in the training data, or set "
        "gate.max_cross_entropy"
    )
    return Check("cross_entropy", holds, actual, bound, sentence)


def _baseline_check(candidate: Evaluation, baseline: Evaluation | None, max_drop: float) -> Check:
    name = "baseline"
    if baseline is None:
        return Check(name, True, None, None, "first release: nothing is served to compare with")
    change = candidate.accuracy - baseline.accuracy
    holds = change >= -max_drop - TOLERANCE
    sentence = (
        f"accuracy changes by {change:+.4f} against the served model ({baseline.accuracy:.4f}), "
        + ("" if holds else "required is ")
        + f"{-max_drop:+.4f} or more"
        + ("" if holds else ": the served model stays")
    )
    return Check(name, holds, change, -max_drop, sentence)
