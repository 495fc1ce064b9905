"""Estimates how many of the given labels are wrong, by confident learning.

The rule is the published one, see `components.confident_learning`. A second count with strict
thresholds tells wrong labels from the confusions of a weak classifier: the estimate is the share
that it finds, minus the share that only the lenient count finds
(docs/decisions/0006-label-noise-and-near-duplicates.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.confident_learning import NO_CLASS, counted_for, thresholds
from components.data_gate.quick_classifier import Floats, Labels
from components.gate.check import Check
from components.gate.statistics import binomial_tail
from trainer.host.text import percent

_STRICT = 0.75  # quantile of a class's scores among the examples with its label
_ALPHA = 0.05  # of each check
# What the classifier must predict of the labels that the estimate leaves as right, beyond chance.
_LEAST_SKILL = 0.7
_CLEAR_SKILL = 0.9  # for single classes the least, too
_REMEDY = (
    "correct in the source those that the report shows to be wrong, or set "
    "data_gate.max_label_noise"
)


@dataclasses.dataclass(frozen=True)
class Noise:
    """The estimated share of wrong labels, among all labels or those of one class.

    Attributes:
      lenient: share that counts for another class by the published thresholds, 0..1.
      strict: the same by the strict thresholds, 0..1.
      rows: number of examples that reach a strict threshold.
      is_judged: whether the classifier is good enough to tell wrong labels from hard images.
      is_clear: whether it is so good that it confuses few images at all.
    """

    lenient: float
    strict: float
    rows: int
    is_judged: bool
    is_clear: bool = True

    @property
    def confused(self) -> float:
        return max(0.0, self.lenient - self.strict)

    @property
    def share(self) -> float:
        return max(0.0, self.strict - self.confused)

    def exceeds(self, bound: float, *, tests: int = 1) -> bool:
        """Whether more than `bound` is wrong, by one of `tests` binomial tests (Bonferroni).

        An example that the strict thresholds find by chance makes the confused share smaller, too.
        So where many images are confused, the strict share is compared with the mean of the bound
        and the lenient share, which is what it is if `share` is the bound.
        """
        found = round(self.strict * self.rows)
        by_chance = min(1.0, bound + self.confused)
        if not self.is_clear:
            by_chance = max(bound, (bound + self.lenient) / 2)
        return self.is_judged and binomial_tail(found, self.rows, by_chance) < _ALPHA / tests


@dataclasses.dataclass(frozen=True)
class LabelNoise:
    """The estimates for a set of labels, all together and by class.

    Attributes:
      accuracy: share of the labels that the classifier predicts, 0..1.
      looks_like: for each label, the class that its wrong examples look like most often.
    """

    examples: int
    accuracy: float
    overall: Noise
    by_class: tuple[Noise, ...]
    looks_like: tuple[int, ...]


def estimate(scores: Floats, labels: Labels) -> LabelNoise:
    """Estimates how many labels, [N], are wrong; each of the scores, [N, K], is out-of-fold."""
    given = np.bincount(labels, minlength=scores.shape[1])  # [K]
    lenient, _ = _shares(_confident_counts(scores, labels, None))
    counts = _confident_counts(scores, labels, _STRICT)
    strict, rows = _shares(counts)
    right = scores.argmax(axis=1) == labels  # [N]
    accuracy, chance = float(right.mean()), float(given.max() / len(labels))
    skill = (accuracy - chance) / (1 - chance) if chance < 1 else 0.0
    weights = given / len(labels)
    overall = Noise(float(weights @ lenient), float(weights @ strict), int(rows.sum()), True)
    # A class may be hard where the others are not: then it is not judged, and the others are.
    recalls = np.bincount(labels[right], minlength=len(given)) / np.maximum(given, 1)
    left = 1 - overall.share  # of the labels, as right
    is_clear = skill >= _CLEAR_SKILL * left
    judged = is_clear & (recalls >= _LEAST_SKILL * left)
    np.fill_diagonal(counts, 0)
    columns = (values.tolist() for values in (lenient, strict, rows, judged))
    return LabelNoise(
        examples=len(labels),
        accuracy=accuracy,
        overall=dataclasses.replace(
            overall, is_judged=skill >= _LEAST_SKILL * left, is_clear=is_clear
        ),
        by_class=tuple(Noise(*values) for values in zip(*columns, strict=True)),
        looks_like=tuple(counts.argmax(axis=1).tolist()),
    )


def _confident_counts(
    scores: Floats, labels: Labels, quantile: float | None
) -> npt.NDArray[np.int64]:
    """The confident joint, [K, K]: examples by label and by the class that they count for.

    A class's threshold is this quantile of the scores of its examples; None takes their mean.
    """
    classes = scores.shape[1]
    counted = counted_for(scores, labels, thresholds(scores, labels, quantile))
    confident = counted != NO_CLASS
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[confident], counted[confident]), 1)
    return counts


def _shares(
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Of each label, the share that counts for another class (0 where none counts), and the sum."""
    rows = counts.sum(axis=1)
    return (rows - np.diag(counts)) / np.maximum(rows, 1), rows


def noise_checks(noise: LabelNoise, class_names: Sequence[str], bound: float) -> tuple[Check, ...]:
    """Checks that at most `bound` (0..1) of all labels and of those of each class are wrong."""
    return _overall_check(noise, bound), _class_check(noise, class_names, bound)


def _overall_check(noise: LabelNoise, bound: float) -> Check:
    name = "data.label_noise"
    if not noise.overall.is_judged:
        sentence = (
            "train and eval: label noise could not be judged: a quick classifier predicts "
            f"{percent(noise.accuracy, 1)} of {noise.examples:,} labels, too few to tell wrong "
            "labels from hard images"
        )
        return Check(name, True, None, bound, sentence)
    share = noise.overall.share
    found = f"train and eval: about {percent(share)} of {noise.examples:,} labels look wrong"
    if noise.overall.exceeds(bound):
        sentence = f"{found}, expected at most {percent(bound)}; {_REMEDY}"
        return Check(name, False, share, bound, sentence)
    return Check(name, True, share, bound, f"{found}, {_passed(share, bound)}")


def _passed(share: float, bound: float) -> str:
    if share <= bound:
        return f"at most {percent(bound)} is allowed"
    return f"more than {percent(bound)}, which chance explains"


def _class_check(noise: LabelNoise, class_names: Sequence[str], bound: float) -> Check:
    name = "data.class_label_noise"
    judged = {label: each for label, each in enumerate(noise.by_class) if each.is_judged}
    if not judged:
        sentence = "train and eval: label noise of single classes could not be judged"
        return Check(name, True, None, bound, sentence)
    exceeding = {
        label: each for label, each in judged.items() if each.exceeds(bound, tests=len(judged))
    }
    among = exceeding or judged
    worst = max(among, key=lambda label: among[label].share)
    share = among[worst].share
    found = f"train and eval: about {percent(share)} of the labels {class_names[worst]} look wrong"
    if exceeding:
        alike = class_names[noise.looks_like[worst]]
        sentence = f"{found}, most often like {alike}, expected at most {percent(bound)}; {_REMEDY}"
    elif share:
        sentence = f"{found}, the most of any class; {_passed(share, bound)}"
    else:
        sentence = "train and eval: no class has labels that look wrong"
    return Check(name, not exceeding, share, bound, sentence)
