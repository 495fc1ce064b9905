"""Which of the given labels are likely errors, by confident learning.

The rule is that of Northcutt, Jiang and Chuang (2021, JAIR 70, section 3): a class's threshold is
its mean score among the examples with its label, and an example counts for the class whose
threshold its score reaches, or for the one with the highest score if it reaches several. The label
of an example that counts for another class is a likely error. They are ranked by the normalized
margin (section 3.2): the score of that class less the score of the label.

One condition is ours: the margin is positive. The scores of a class of few examples are about 0 for
them too, so nearly every example would reach its threshold.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

NO_CLASS = -1  # of an example that reaches no threshold


@dataclasses.dataclass(frozen=True)
class LabelErrors:
    """Likely errors, the likeliest first: row, the class that it looks like, and the margin."""

    rows: npt.NDArray[np.intp]
    looks_like: Labels
    margins: Floats


def thresholds(scores: Floats, labels: Labels, quantile: float | None = None) -> Floats:
    """The mean, or this quantile, of the scores [N, K] of each class among the examples with its
    label [N]; [K], infinite for a class without examples.
    """
    found = np.full(scores.shape[1], np.inf)
    for label in np.unique(labels):
        own = scores[labels == label, label]
        found[label] = own.mean() if quantile is None else np.quantile(own, quantile)
    return found


def counted_for(scores: Floats, labels: Labels, reached: Floats) -> Labels:
    """The class that each example counts for, [N], by thresholds [K]; or `NO_CLASS`.

    It is the label [N], or a class with a higher score.
    """
    reaching = np.where(scores >= reached, scores, -np.inf)
    best, own = reaching.max(axis=1), scores[np.arange(len(labels)), labels]
    confident = np.isfinite(best) & (best >= own)
    return np.where(confident, reaching.argmax(axis=1), NO_CLASS).astype(np.int64)


def label_errors(scores: Floats, labels: Labels, reached: Floats) -> LabelErrors:
    """Ranks the examples that count for another class than their label.

    Args:
      scores: [N, K], of a model that has not seen the example with its label.
      labels: [N], as given.
      reached: thresholds of the classes, [K].
    """
    counted = counted_for(scores, labels, reached)
    rows = np.flatnonzero((counted != NO_CLASS) & (counted != labels))
    margins = scores[rows, counted[rows]] - scores[rows, labels[rows]]
    order = np.argsort(-margins, kind="stable")
    return LabelErrors(rows[order], counted[rows][order], margins[order])
