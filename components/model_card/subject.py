"""What the documents of a version are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.gate.evidence import Evidence, Tally
from components.gate.statistics import proportion_interval


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a group of test images, with its exact 95 % interval (Clopper and Pearson).

    Attributes:
      group: "" for all images, or such as "class 7".
    """

    group: str
    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Subject:
    """A model that is released.

    Attributes:
      record: the release record: `dataset` as `ExamplesSummary.to_json`, `training`, `card`, ...
      evidence: counts on the test split.
    """

    record: Mapping[str, Any]
    evidence: Evidence
    model_digest: str

    @property
    def dataset(self) -> Mapping[str, Any]:
        return self._section("dataset")

    @property
    def training(self) -> Mapping[str, Any]:
        return self._section("training")

    @property
    def name(self) -> str:
        """The data set's name, which is the model's too."""
        return str(self.dataset.get("name") or "classifier")

    def stated(self, key: str) -> str:
        """Returns what the configuration says of `owner`, `intended_use` or `license`, or ""."""
        return str(self._section("card").get(key) or "")

    def accuracies(self) -> Iterator[Accuracy]:
        """Yields those of all images, of each class and of each slice that has images."""
        evidence = self.evidence
        yield from _accuracy("", evidence.overall)
        for name, tally in evidence.classes.items():
            yield from _accuracy(f"class {name}", tally)
        for name, tally in evidence.slices.items():
            yield from _accuracy(f"slice {name}", tally)

    def _section(self, name: str) -> Mapping[str, Any]:
        return self.record.get(name) or {}


def _accuracy(group: str, tally: Tally) -> Iterator[Accuracy]:
    if tally.rows:
        low, high = proportion_interval(tally.correct, tally.rows)
        yield Accuracy(group, tally.rows, tally.accuracy, low, high)
