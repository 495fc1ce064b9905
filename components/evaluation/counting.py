"""Counts what the gate decides by, from arrays of probabilities: the Evaluator's counts without it.

Synopsis::

    evidence = count(labels, candidate, baseline=served, class_names=names,
                     slices=policy.slices, numbers={"mean_intensity": intensities})

The same model on the same examples gives the very counts that `gate_metrics` and TFMA give (tests
hold the two together), so that `components.gate.decide` decides alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.gate.evidence import Evidence, Tally
from components.gate.slices import Bands

# Keras keeps probabilities that far from 0 and 1 before it takes their logarithm.
_EPSILON = 1e-7

_Mask = npt.NDArray[np.bool_]  # [N]


def count(
    labels: np.ndarray,
    candidate: np.ndarray,
    *,
    baseline: np.ndarray | None,
    class_names: Sequence[str],
    slices: Sequence[Bands],
    numbers: Mapping[str, np.ndarray],
) -> Evidence:
    """What `components.gate.decide.decide` wants to know.

    Args:
      labels: [N] int64, at least one.
      candidate: [N, K] probabilities; an example's answer is its most probable class, and one with
        a probability that is NaN or infinite is wrong.
      baseline: [N, K], of what the candidate is compared with; None with nothing to compare.
      class_names: K, in the order of the labels.
      slices: those of the policy.
      numbers: [N] each, by the features that the slices name.
    """
    finite = np.isfinite(candidate).all(axis=1)
    right = _right(candidate, labels)
    before = right if baseline is None else _right(baseline, labels)

    def tally(among: _Mask) -> Tally:
        groups = (among, among & right, among & before & ~right, among & right & ~before)
        return Tally(*(int(group.sum()) for group in groups))

    return Evidence(
        overall=tally(np.ones(len(labels), bool)),
        classes={name: tally(labels == label) for label, name in enumerate(class_names)},
        slices={
            name: tally(_bands(numbers[cut.feature], cut) == index)
            for cut in slices
            for index, name in enumerate(cut.names)
        },
        cross_entropy=_cross_entropy(candidate, labels),
        top_2_accuracy=float((finite & _among_two(candidate, labels)).mean()),
        not_finite=int((~finite).sum()),
        compared=baseline is not None,
        confusion=_confusion(labels[finite], candidate[finite].argmax(axis=1), len(class_names)),
    )


def _confusion(
    labels: np.ndarray, answers: np.ndarray, num_classes: int
) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return tuple(map(tuple, counts.tolist()))


def _right(probabilities: np.ndarray, labels: np.ndarray) -> _Mask:
    finite = np.isfinite(probabilities).all(axis=1)
    return finite & (probabilities.argmax(axis=1) == labels)


def _bands(values: np.ndarray, cut: Bands) -> npt.NDArray[np.int64]:
    """`Bands.index` of each value."""
    return np.searchsorted(cut.edges, values.astype(np.float64), side="right")


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -ln(probability of the label), nats; NaN where a probability is none."""
    with np.errstate(invalid="ignore"):
        shares = probabilities / probabilities.sum(axis=1, keepdims=True)
        of_label = np.clip(_of_label(shares, labels), _EPSILON, 1.0 - _EPSILON)
        return float(-np.log(of_label).mean())


def _among_two(probabilities: np.ndarray, labels: np.ndarray) -> _Mask:
    """Whether at most one class is more probable than the label."""
    more = probabilities > _of_label(probabilities, labels)[:, np.newaxis]
    return more.sum(axis=1) < 2


def _of_label(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return probabilities[np.arange(len(labels)), labels]
