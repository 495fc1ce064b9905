"""What the sizes of stored images say: how large they are, and whether they give classes away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.example_gen.image_set import Sizes

_STEPS = 4  # of the logarithm to base 2: sizes within a fifth count as the same
_MARGIN = 3.0  # standard errors
_SIZE_BINS = 128  # of `size_counts`: sides of up to 2 ** 32
_SIDES = 1 << 20  # more than there are rounded sides


def sizes_of(facts: np.ndarray, counts: npt.NDArray[np.int64] | None = None) -> Sizes:
    """(height, width) of the smallest, median and largest image, by pixels and then by height.

    Each of the [N] facts is that of one image, or of as many as its count says.
    """
    pixels = facts["height"].astype(np.int64) * facts["width"]
    order = np.lexsort((facts["height"], pixels))
    ends = np.cumsum(np.ones(len(order), np.int64) if counts is None else counts[order])
    middle = np.searchsorted(ends, ends[-1] // 2, "right")
    smallest, median, largest = (
        (int(facts["height"][row]), int(facts["width"][row])) for row in order[[0, middle, -1]]
    )
    return smallest, median, largest


def size_counts(groups: npt.NDArray[np.void]) -> tuple[int, ...]:
    """Counts the images of `totals.GROUPS` by size: the side of a square of as many pixels.

    The 128 bins divide the side's logarithm: sides that differ by a fifth are one bin apart.
    """
    sides = np.log2(groups["height"].astype(float) * groups["width"]) / 2
    bins = np.rint(_STEPS * sides).astype(np.int64)
    counts = np.zeros(_SIZE_BINS, np.int64)
    np.add.at(counts, np.minimum(bins, _SIZE_BINS - 1), groups["images"])
    return tuple(counts.tolist())


def size_tells(
    learned: npt.NDArray[np.void], judged: npt.NDArray[np.void], classes: int
) -> tuple[float, ...]:
    """How well size and greyness alone tell each class from the others, -1 to 1; 0 is chance.

    An image is taken for one of a class if its size, rounded, is more frequent in that class than
    in the others among the images `learned`. The value is the share of the class's images `judged`
    that are taken for it, less the share of the others (Youden's J), less three standard errors, so
    that a class of few images is not blamed for chance. Both are `totals.GROUPS`.
    """
    codes, place = np.unique(np.concatenate([_codes(learned), _codes(judged)]), return_inverse=True)
    place = place.ravel()
    first = _counts(place[: len(learned)], learned, len(codes), classes)
    second = _counts(place[len(learned) :], judged, len(codes), classes)
    taken = _rates(first) > _rates(first.sum(axis=1, keepdims=True) - first)  # [codes, classes]
    others = second.sum(axis=1, keepdims=True) - second
    right, right_variance = _share((second * taken).sum(axis=0), second.sum(axis=0))
    wrong, wrong_variance = _share((others * taken).sum(axis=0), others.sum(axis=0))
    lower = right - wrong - _MARGIN * np.sqrt(right_variance + wrong_variance)
    return tuple(round(float(value), 4) for value in lower)


def _codes(groups: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Returns a number for each group's rounded height, rounded width and greyness, [G]."""
    sides = [
        np.rint(_STEPS * np.log2(groups[name])).astype(np.int64) for name in ("height", "width")
    ]
    return (sides[0] * _SIDES + sides[1]) * 2 + groups["grey"]


def _counts(
    codes: npt.NDArray[np.int64], groups: npt.NDArray[np.void], rows: int, classes: int
) -> npt.NDArray[np.int64]:
    counts = np.zeros((rows, classes), np.int64)
    np.add.at(counts, (codes, groups["label"]), groups["images"])
    return counts


def _rates(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return counts / np.maximum(counts.sum(axis=0), 1)


def _share(
    part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A proportion and its variance, one success and one failure added (Laplace)."""
    share = (part + 1) / (whole + 2)
    return share, share * (1 - share) / (whole + 2)
