"""Counts of predictions and images, from which no single image can be had.

Synopsis::

    summary = summarize(probabilities, intensities=intensities, sizes=["28x28", ...])
    released = Summary.from_json(manifest.release["reference"])
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.host.strict_json import is_count

# The edges of the bins; a bin holds its lower edge. A classifier is nearly sure of most images, so
# the bins of the confidence, its largest probability, are narrow near 1.
CONFIDENCE_EDGES = np.array(
    [
        *(round(0.05 * step, 2) for step in range(2, 19)),
        *(1 - 10 ** (-step / 5) for step in range(6, 31)),
    ]
)
INTENSITY_BINS = 200
INTENSITY_EDGES = np.arange(1, INTENSITY_BINS) / INTENSITY_BINS

_SIZE = re.compile(r"\d{1,9}x\d{1,9}", re.ASCII)

# What is counted of one example: ("class", 7), ("confidence", bin), ("intensity", bin), ...
Key = tuple[str, int | str]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts over images and the predictions for them.

    Attributes:
      rows: the number of images.
      classes: [K], how often each class was predicted.
      confidence: per bin of `CONFIDENCE_EDGES`.
      intensity: per bin of `INTENSITY_EDGES`, of the mean over an image's pixels, 0 (black) to 1
        (white); empty where images are not known.
      sizes: by "HEIGHTxWIDTH", in pixels; empty where images are not known. Images that the model
        cannot take count here alone.
    """

    rows: int
    classes: tuple[int, ...]
    confidence: tuple[int, ...]
    intensity: tuple[int, ...] = ()
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, counts: Mapping[Key, int], num_classes: int) -> Summary:
        """Returns the summary of what `counts_of` gave, added up."""

        def histogram(kind: str, bins: int) -> tuple[int, ...]:
            return tuple(counts.get((kind, at), 0) for at in range(bins))

        classes = histogram("class", num_classes)
        sizes = {str(size): rows for (kind, size), rows in counts.items() if kind == "size"}
        return cls(
            rows=sum(classes),
            classes=classes,
            confidence=histogram("confidence", len(CONFIDENCE_EDGES) + 1),
            intensity=histogram("intensity", INTENSITY_BINS) if sizes else (),
            sizes=dict(sorted(sizes.items())),
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: object) -> Summary:
        """Reads what `to_json` gave; raises ValueError for anything else."""
        match record:
            case {
                "rows": int(rows),
                "classes": list(classes),
                "confidence": list(confidence),
                "intensity": list(intensity),
                "sizes": dict(sizes),
            } if all(map(is_count, [*classes, *confidence, *intensity, *sizes.values()])):
                found = cls(rows, tuple(classes), tuple(confidence), tuple(intensity), sizes)
                if _is_whole(found):
                    return found
        raise ValueError("it is no summary of a test split")


def summarize(
    probabilities: np.ndarray,
    *,
    intensities: Sequence[float] = (),
    sizes: Sequence[str] = (),
) -> Summary:
    """Summarizes what `counts_of` counts."""
    counts = counts_of(probabilities, intensities=intensities, sizes=sizes)
    return Summary.of(counts, probabilities.shape[1])


def counts_of(
    probabilities: np.ndarray, *, intensities: Sequence[float], sizes: Sequence[str]
) -> Counter[Key]:
    """Counts predictions [N, K] and, where they are known, the images' intensities and sizes."""
    labels, confidences = _predicted(probabilities)
    values: dict[str, Iterable[int | str]] = {
        "class": labels.tolist(),
        "confidence": np.searchsorted(CONFIDENCE_EDGES, confidences, "right").tolist(),
        "intensity": np.searchsorted(INTENSITY_EDGES, intensities, "right").tolist(),
        "size": sizes,
    }
    return Counter(
        {(kind, value): rows for kind, of in values.items() for value, rows in Counter(of).items()}
    )


def _predicted(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes and their probabilities, [N] each: of what is not finite, [N, K], the
    first class with a probability of 0.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    labels = np.where(finite, probabilities.argmax(axis=1), 0)
    return labels, np.where(finite, probabilities.max(axis=1), 0.0)


def size_of(height: int, width: int) -> str:
    """Returns the size as a summary names it."""
    return f"{height}x{width}"


def sizes_of(released: Summary, observed: Summary) -> tuple[list[str], list[int], list[int]]:
    """Returns the sizes in either, those of small areas first, and the counts of each in both."""
    sizes = sorted(released.sizes.keys() | observed.sizes.keys(), key=_area)
    before, now = ([one.sizes.get(size, 0) for size in sizes] for one in (released, observed))
    return sizes, before, now


def _area(size: str) -> tuple[int, str]:
    return math.prod(map(int, size.split("x"))), size


def _is_whole(summary: Summary) -> bool:
    """Tells whether counts of one image or more belong together."""
    lengths = (len(summary.confidence), len(summary.intensity))
    expected = (len(CONFIDENCE_EDGES) + 1, INTENSITY_BINS if summary.sizes else 0)
    parts = [summary.classes, summary.confidence, summary.intensity]
    sums = {sum(part) for part in parts if part}
    enough = not summary.sizes or sum(summary.sizes.values()) >= summary.rows
    named = all(map(_SIZE.fullmatch, summary.sizes))
    return lengths == expected and sums == {summary.rows} != {0} and enough and named
