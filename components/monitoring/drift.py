"""Compares the requests that a model gets with the test split on which it was released.

    drift = compare(released, observed, level=0.05, tolerance=0.02, class_names=["cat", "dog"])
    drift.found, [test.sentence for test in drift.tests]

Shares of the predicted classes are compared by Pearson's chi-square test of homogeneity, and where
they are rare by Fisher's exact test; confidence, intensity and size by the two-sample
Kolmogorov-Smirnov test over the bins. All p-values together are corrected for their number (Holm
1979).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from components.gate.evidence import Tally
from components.gate.statistics import binomial_tail, holm, proportion_interval
from components.monitoring.counts import Summary, sizes_of
from components.monitoring.kolmogorov import kolmogorov
from trainer.host import text

_FEWEST = 5.0  # images that are expected of a class: below, chi-square's approximation is poor


@dataclasses.dataclass(frozen=True)
class Test:
    """One comparison.

    Attributes:
      name: "classes", "confidence", "intensity", "size" or "accuracy".
      distance: the largest difference of a share (0..1); of the accuracy, how far it is below the
        floor.
      p_value: after the correction for the number of tests.
      drifted: whether it counts as drift.
    """

    name: str
    distance: float
    p_value: float
    drifted: bool
    sentence: str


@dataclasses.dataclass(frozen=True)
class Drift:
    """The comparison of requests with a release; `left_out` says which tests could not be made."""

    tests: tuple[Test, ...]
    left_out: tuple[str, ...]

    @property
    def found(self) -> bool:
        return any(test.drifted for test in self.tests)


@dataclasses.dataclass(frozen=True)
class _Raw:
    name: str
    distance: float
    p_value: float
    what: str


def compare(
    released: Summary,
    observed: Summary,
    *,
    level: float,
    tolerance: float,
    floor: float = 0.0,
    class_names: Sequence[str],
    labelled: Tally | None = None,
) -> Drift:
    """Tests whether requests are like the test split.

    Args:
      class_names: those of the K classes.
      level: the probability (0..1) of calling anything drift if nothing has changed.
      tolerance: a smaller distance is no drift, however sure it is.
      floor: of the accuracy, for requests with labels.
      labelled: those requests, and those of them that were answered right.
    """
    raw = list(_distributions(released, observed, class_names))
    left_out = []
    if not (released.sizes and observed.sizes):
        left_out.append("intensity and size: there are no images")
    if labelled is None:
        left_out.append("accuracy: there are no labels")
    else:
        raw.append(_accuracy(labelled, floor))
    adjusted = holm([one.p_value for one in raw])
    tests = [
        _judged(one, p_value, level, 0.0 if one.name == "accuracy" else tolerance)
        for one, p_value in zip(raw, adjusted, strict=True)
    ]
    return Drift(tuple(tests), tuple(left_out))


def _judged(raw: _Raw, p_value: float, level: float, tolerance: float) -> Test:
    drifted = p_value <= level and raw.distance >= tolerance
    said = f"{raw.what}, {text.p_value(p_value)}"
    if drifted:
        said += f", at most the level {level:g}"
    elif p_value <= level:
        said += f": within the tolerance of {tolerance:g}"
    return Test(raw.name, raw.distance, p_value, drifted, said)


def _distributions(
    released: Summary, observed: Summary, class_names: Sequence[str]
) -> Iterator[_Raw]:
    yield _classes(released.classes, observed.classes, class_names)
    yield _kolmogorov("confidence", released.confidence, observed.confidence)
    if released.sizes and observed.sizes:
        yield _kolmogorov("intensity", released.intensity, observed.intensity)
        _, before, now = sizes_of(released, observed)
        yield _kolmogorov("size", before, now)


def _classes(before: Sequence[int], now: Sequence[int], names: Sequence[str]) -> _Raw:
    """Pearson's test; classes that too few images are expected of are taken together.

    Where too few are expected of those as well, Fisher's exact test judges their share.
    """
    from scipy import stats

    table = np.array([before, now])  # [2, K]
    rows = table.sum(axis=1)
    shares = table / rows[:, np.newaxis]
    gaps = np.abs(shares[0] - shares[1])
    distance, at = float(gaps.max()), gaps.argmax()
    expected = table.sum(axis=0) * (rows.min() / rows.sum())  # [K], in the smaller of the two
    rare = expected < _FEWEST
    frequent, others = table[:, ~rare], table[:, rare].sum(axis=1)
    p_values = []
    if expected[rare].sum() >= _FEWEST:
        frequent = np.column_stack([frequent, others])
    elif others.any():
        p_values.append(float(stats.fisher_exact([others, rows - others])[1]))
    if frequent.shape[1] > 1 and frequent.sum(axis=1).all():
        p_values.append(float(stats.chi2_contingency(frequent, correction=False)[1]))
    was, is_ = shares[:, at].tolist()
    what = f"predicted class {names[at]}: share {was:.4f} at the release, now {is_:.4f}"
    return _Raw("classes", distance, min(holm(p_values), default=1.0), what)


def _kolmogorov(name: str, before: Sequence[int], now: Sequence[int]) -> _Raw:
    distance, p_value = kolmogorov(before, now)
    what = f"{name}: the distributions are {distance:.4f} apart (Kolmogorov-Smirnov)"
    return _Raw(name, distance, p_value, what)


def _accuracy(labelled: Tally, floor: float) -> _Raw:
    """Tests, exactly, whether the accuracy is below the floor: P(X <= correct) at the floor."""
    rows, correct = labelled.rows, labelled.correct
    p_value = binomial_tail(rows - correct, rows, 1.0 - floor)
    low, high = proportion_interval(correct, rows)
    what = (
        f"accuracy {labelled.accuracy:.4f} of {rows:,} labelled requests (95 % interval "
        f"{low:.4f} to {high:.4f}), floor {floor:.4f}"
    )
    return _Raw("accuracy", max(0.0, floor - labelled.accuracy), p_value, what)
