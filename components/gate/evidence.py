"""The evidence of a decision: counts over groups of test examples, and their origin.

Synopsis::

    tally = Tally(rows=1000, correct=984, lost=3, gained=5)
    tally.accuracy                      # 0.984
    groups(evidence, policy)            # the classes and slices, each with its tally
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from components.gate.policy import Policy


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts over a group of examples.

    Attributes:
      rows: number of examples.
      correct: number of those that the candidate predicts right.
      lost: number of those that only the served model predicts right; 0 if nothing is served.
      gained: number of those that only the candidate predicts right; 0 if nothing is served.
    """

    rows: int
    correct: int
    lost: int = 0
    gained: int = 0

    def __post_init__(self) -> None:
        if not (
            0 <= self.gained <= self.correct <= self.rows
            and 0 <= self.lost <= self.rows - self.correct
        ):
            raise ValueError(f"{self} is impossible: more of a part than of the whole")

    @property
    def errors(self) -> int:
        return self.rows - self.correct

    @property
    def accuracy(self) -> float:
        """Of the candidate, 0..1; NaN without examples."""
        return self.correct / self.rows if self.rows else math.nan

    @property
    def change(self) -> float:
        """The candidate's accuracy less the served model's, -1..1; NaN without examples."""
        return (self.gained - self.lost) / self.rows if self.rows else math.nan


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Counts on the test split.

    Attributes:
      overall: over all examples.
      classes: over the examples of each class, by its name; every class of the data set, in the
        order of the labels.
      slices: over the examples of each slice, by its name.
      cross_entropy: the candidate's mean of -ln(probability of the label), nats.
      top_2_accuracy: fraction whose label is among the candidate's two most probable classes.
      not_finite: examples for which a probability of the candidate is NaN or infinite.
      compared: whether there was a served model, so that `lost` and `gained` mean something.
      confusion: [label][prediction], examples in the order of the labels, without the `not_finite`
        ones. Empty where it was not counted: no check needs it.
    """

    overall: Tally
    classes: Mapping[str, Tally]
    slices: Mapping[str, Tally]
    cross_entropy: float
    top_2_accuracy: float
    not_finite: int = 0
    compared: bool = False
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """The candidate's metrics, for the release record and `--json`."""
        return {
            "accuracy": self.overall.accuracy,
            "top_2_accuracy": self.top_2_accuracy,
            "cross_entropy": self.cross_entropy,
            "by_class": {name: tally.accuracy for name, tally in self.classes.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evidence:
        groups = {
            key: {name: Tally(**tally) for name, tally in fields[key].items()}
            for key in ("classes", "slices")
        }
        whole = {
            "overall": Tally(**fields["overall"]),
            "confusion": tuple(map(tuple, fields.get("confusion", ()))),
        }
        return cls(**{**fields, **groups, **whole})


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The origin of the evidence, and the origin that it should have.

    Attributes:
      split_rows: number of test examples that ExampleGen recorded.
      split_digest: digest of the examples that were evaluated.
      recorded_digest: digest of the test split that ExampleGen recorded.
      evaluated_model: directory of the SavedModel that was evaluated.
      exported_model: directory of the SavedModel that is to ship.
      withdrawn: when and why this model was withdrawn; None if it never was.
    """

    split_rows: int
    split_digest: str
    recorded_digest: str
    evaluated_model: str
    exported_model: str
    withdrawn: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """Everything by which a check of the gate judges.

    Attributes:
      evidence: counts on the test split.
      policy: the thresholds.
      provenance: the origin of the evidence.
      decision: the number of this decision on this test set, from 1.
      damage: why the served model cannot be read; None if it can, or if nothing is served.
    """

    evidence: Evidence
    policy: Policy
    provenance: Provenance
    decision: int = 1
    damage: str | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    """A class or a slice.

    Attributes:
      kind: "class" or "slice".
      label: its name in messages.
      name: name of its check against the class floor, such as "class.7".
      tally: its counts.
      judged: whether it has enough examples for tests.
    """

    kind: str
    label: str
    name: str
    tally: Tally
    judged: bool


def groups(evidence: Evidence, policy: Policy) -> list[Group]:
    """Returns the classes and slices, which are one family of tests."""
    return [
        *(
            Group("class", f"class {name}", f"class.{name}", tally, judged=tally.rows > 0)
            for name, tally in evidence.classes.items()
        ),
        *(
            Group("slice", name, f"slice.{name}", tally, judged=tally.rows >= policy.min_slice_rows)
            for name, tally in evidence.slices.items()
        ),
    ]
