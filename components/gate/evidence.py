"""The evidence of a decision: counts over groups of test examples, and their origin."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from typing import Any

from components.gate.policy import Policy


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts over a group of examples, of which the candidate predicts the `correct` ones right.

    Only the served model predicts the `lost` ones right, and only the candidate the `gained` ones:
    both are 0 if nothing is served. Raises TypeError for a count that is no whole number, and
    ValueError for more of a part than of the whole.
    """

    rows: int
    correct: int
    lost: int = 0
    gained: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # NumPy's integers, which JSON does not know
            object.__setattr__(self, field.name, operator.index(getattr(self, field.name)))
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
    def served_accuracy(self) -> float:
        """Of the served model on the same examples, 0..1; NaN without examples."""
        return (self.correct + self.lost - self.gained) / self.rows if self.rows else math.nan

    @property
    def change(self) -> float:
        """The candidate's accuracy less the served model's, -1..1; NaN without examples."""
        return (self.gained - self.lost) / self.rows if self.rows else math.nan


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Counts on the test split; the order of the classes is that of the labels.

    Attributes:
      cross_entropy: the candidate's mean of -ln(probability of the label), nats; None, as is
        `top_2_accuracy`, where its predicted class alone is known.
      top_2_accuracy: fraction whose label is among the candidate's two most probable classes.
      not_finite: examples for which a probability of the candidate is NaN or infinite.
      compared: whether there was a served model, so that `lost` and `gained` mean something.
      confusion: [label][prediction], examples without the `not_finite` ones; empty where they were
        not counted, as of very many classes: no check needs them.
    """

    overall: Tally
    classes: Mapping[str, Tally]
    slices: Mapping[str, Tally]
    cross_entropy: float | None
    top_2_accuracy: float | None
    not_finite: int = 0
    compared: bool = False
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        return {
            "accuracy": self.overall.accuracy,
            "top_2_accuracy": self.top_2_accuracy,
            "cross_entropy": self.cross_entropy,
            "by_class": {name: tally.accuracy for name, tally in self.classes.items()},
        }


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The origin of the evidence, and the origin that it should have.

    ExampleGen recorded `split_rows` and `recorded_digest`. The models are SavedModels' directories;
    the exported one is to ship. If it was withdrawn or rejected, `withdrawn` says so: "withdrawn by
    version 3 at 2026-11-24T12:00:00+00:00: sevens".
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
      provenance: None for predictions whose model and images the gate has not seen.
      decision: the number of this decision on this test set, from 1.
      damage: why the served model cannot be read; None if it can, or if nothing is served.
      lost: how many earlier decisions the decision log had lost.
    """

    evidence: Evidence
    policy: Policy
    provenance: Provenance | None
    decision: int = 1
    damage: str | None = None
    lost: int = 0


@dataclasses.dataclass(frozen=True)
class Group:
    """A class or a slice, its `kind`, and whether it has enough examples for tests.

    Attributes:
      label: its name in messages.
      name: that of its check against the class floor, such as "class.7".
    """

    kind: str
    label: str
    name: str
    tally: Tally
    judged: bool


def groups(evidence: Evidence, policy: Policy) -> list[Group]:
    """The classes and slices, which are one family of tests."""
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
