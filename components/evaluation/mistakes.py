"""What the report shows of single test examples: the mistakes, and how sure the model is.

`Mistakes` adds up over batches, workers and slices like `counting.Outcomes`. Probabilities are
summed as whole millionths, so that the sums do not depend on the order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.evaluation.counting import NOT_FINITE
from components.pictures import GAINED, LOST, WRONG, Bin

KEPT = 60  # examples of each kind, those with the largest margins
BINS = 15  # of the confidence (Guo et al. 2017)

_UNIT = 1_000_000


class Mistake(NamedTuple):
    """An example that a model gets wrong.

    Attributes:
      margin: the probability of that model's answer less the label's, in millionths.
      digest: SHA-256 of the stored image, hexadecimal.
      baseline: probabilities [K] of the served model; empty without one.
    """

    margin: int
    digest: str
    label: int
    candidate: tuple[float, ...]
    baseline: tuple[float, ...]


def observe(
    label: int, digest: str, candidate: np.ndarray, baseline: np.ndarray | None
) -> Mistakes:
    """Looks at one example; the probabilities are [K]."""
    predicted, other = _prediction(candidate), None if baseline is None else _prediction(baseline)
    found = Mistakes()
    if predicted != NOT_FINITE:
        confidence = float(candidate[predicted])
        index = min(int(confidence * BINS), BINS - 1)
        found.sums["rows", index] = 1
        found.sums["right", index] = int(predicted == label)
        found.sums["confidence", index] = round(confidence * _UNIT)
        found.sums["of_label", label] = round(float(candidate[label]) * _UNIT)
        found.sums["labels", label] = 1
    kinds: list[str] = []
    if predicted != label:
        kinds = [WRONG] if other is None or other != label else [WRONG, LOST]
    elif other is not None and other != label:
        kinds = [GAINED]
    if not kinds:
        return found
    of_wrong = candidate if predicted != label or baseline is None else baseline
    mistake = Mistake(
        _margin(of_wrong, label),
        digest,
        label,
        tuple(candidate.tolist()),
        () if baseline is None else tuple(baseline.tolist()),
    )
    for kind in kinds:
        found.keep(kind, [mistake])
    return found


def _prediction(probabilities: np.ndarray) -> int:
    return int(probabilities.argmax()) if np.isfinite(probabilities).all() else NOT_FINITE


def _margin(probabilities: np.ndarray, label: int) -> int:
    if not np.isfinite(probabilities).all():
        return _UNIT  # the worst of mistakes
    return round(float(probabilities.max() - probabilities[label]) * _UNIT)


class Mistakes:
    """Sums over examples, and of each kind of mistake those with the largest margins."""

    def __init__(self) -> None:
        self.sums = Counter[tuple[str, int]]()
        self.kept: dict[str, dict[tuple[str, int], Mistake]] = {}

    def merge(self, other: Mistakes) -> None:
        self.sums.update(other.sums)
        for kind, mistakes in other.kept.items():
            self.keep(kind, mistakes.values())

    def keep(self, kind: str, mistakes: Iterable[Mistake]) -> None:
        kept = self.kept.setdefault(kind, {})
        for mistake in mistakes:
            key = mistake.digest, mistake.label
            # The same image in batches of different sizes may differ by rounding, see the sample.
            kept[key] = min(mistake, kept.get(key, mistake))
        if len(kept) > 2 * KEPT:
            self.kept[kind] = {(each.digest, each.label): each for each in self.ranked(kind)}

    def ranked(self, kind: str) -> list[Mistake]:
        """Returns those with the largest margins, these first, in an order of their own."""
        found = self.kept.get(kind, {}).values()
        return sorted(found, key=lambda each: (-each.margin, each.digest, each.label))[:KEPT]

    def bins(self) -> list[Bin]:
        """Returns the bins of the confidence that hold an example, in order."""
        sums = self.sums
        return [
            Bin(
                rows=sums["rows", index],
                confidence=sums["confidence", index] / sums["rows", index] / _UNIT,
                accuracy=sums["right", index] / sums["rows", index],
            )
            for index in range(BINS)
            if sums["rows", index]
        ]

    def thresholds(self, classes: int) -> np.ndarray:
        """The mean probability of each class among its examples, [classes], infinite without."""
        sums = self.sums
        means = (
            sums["of_label", each] / sums["labels", each] / _UNIT
            if sums["labels", each]
            else np.inf
            for each in range(classes)
        )
        return np.array(list(means))

    def to_bytes(self) -> bytes:
        fields = {
            "sums": [[*key, value] for key, value in sorted(self.sums.items())],
            "kept": {kind: self.ranked(kind) for kind in sorted(self.kept)},
        }
        return json.dumps(fields).encode()  # with NaN where the model gave it

    @classmethod
    def from_bytes(cls, content: bytes) -> Mistakes:
        fields: Mapping[str, Any] = json.loads(content)
        made = cls()
        made.sums.update({(name, index): value for name, index, value in fields["sums"]})
        for kind, mistakes in fields["kept"].items():
            rows = (Mistake(m, d, label, tuple(c), tuple(b)) for m, d, label, c, b in mistakes)
            made.keep(kind, rows)
        return made
