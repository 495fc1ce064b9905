"""Sums over examples, which add up over the parts of a data set in any order, and their summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from components.example_gen.example_facts import GRID
from components.example_gen.examples_summary import LOOK_BINS, SplitSummary
from components.example_gen.image_set import DatasetInfo
from components.example_gen.stored_sizes import size_counts, sizes_of
from components.monitoring.counts import INTENSITY_BINS

_LOOKS = GRID * GRID + 1  # distributions: each region's mean intensity, and the contrast
_KEYS = ("label", "height", "width", "grey")

# Images of one class, size and greyness.
GROUPS = np.dtype(
    [
        ("label", np.int64),
        ("height", np.int32),
        ("width", np.int32),
        ("grey", np.bool_),
        ("images", np.int64),
    ]
)


@dataclasses.dataclass(frozen=True)
class Totals:
    """What is known of some images together.

    Attributes:
      groups: [G] GROUPS, one for each class, size and greyness that occurs.
      pixel_sum: over all pixels and channels of the images.
      intensities: [INTENSITY_BINS] int64, images by their mean intensity.
      looks: [17, 16] int64, images by the mean intensity of each region, and by their contrast.
    """

    groups: npt.NDArray[np.void]
    pixel_sum: int
    intensities: npt.NDArray[np.int64]
    looks: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        return int(self.groups["images"].sum())

    def class_counts(self, classes: int) -> npt.NDArray[np.int64]:
        """The images of each class, [K] int64."""
        counts = np.zeros(classes, np.int64)
        np.add.at(counts, self.groups["label"], self.groups["images"])
        return counts

    def without(self, part: Totals) -> Totals:
        """Takes away the images of a part of these."""
        groups = part.groups.copy()
        groups["images"] *= -1
        negative = Totals(groups, -part.pixel_sum, -part.intensities, -part.looks)
        return joined_totals([self, negative])


def totals_of(facts: np.ndarray, image_shape: tuple[int, int, int]) -> Totals:
    """Sums up [n] FACTS of images that the network sees in this shape."""
    groups = np.ones(len(facts), GROUPS)
    for key in _KEYS:
        groups[key] = facts[key]
    white = 255 * int(np.prod(image_shape))
    bins = np.minimum(facts["pixel_sum"] * INTENSITY_BINS // white, INTENSITY_BINS - 1)
    return Totals(
        _merged(groups),
        int(facts["pixel_sum"].sum()),
        np.bincount(bins, minlength=INTENSITY_BINS),
        _histograms(np.column_stack([facts["regions"], facts["contrast"]])),
    )


def _histograms(looks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Counts [n, 17] uint8 in each column: [17, 16] int64."""
    places = np.arange(_LOOKS) * LOOK_BINS
    bins = looks // (256 // LOOK_BINS)
    counts = np.bincount((places + bins).ravel(), minlength=_LOOKS * LOOK_BINS)
    return counts.reshape(_LOOKS, LOOK_BINS)


def joined_totals(totals: Iterable[Totals]) -> Totals:
    """Adds up any number of totals, none too."""
    given = list(totals)
    none, unseen = np.zeros(INTENSITY_BINS, np.int64), np.zeros((_LOOKS, LOOK_BINS), np.int64)
    return Totals(
        _merged(np.concatenate([np.empty(0, GROUPS), *(one.groups for one in given)])),
        sum(one.pixel_sum for one in given),
        np.sum([none, *(one.intensities for one in given)], axis=0),
        np.sum([unseen, *(one.looks for one in given)], axis=0),
    )


def _merged(groups: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Joins the groups of one kind, and drops those that have no images."""
    if not len(groups):
        return groups
    groups = groups[np.lexsort([groups[key] for key in _KEYS])]
    kinds = groups[list(_KEYS)]
    first = np.flatnonzero(np.append(True, kinds[1:] != kinds[:-1]))
    images = np.add.reduceat(groups["images"], first)
    groups = groups[first]
    groups["images"] = images
    return groups[images != 0]


def split_summary(info: DatasetInfo, images: Totals, digest: str) -> SplitSummary:
    """Summarizes a split that has at least one image."""
    white = 255 * int(np.prod(info.image_shape))
    groups = images.groups
    return SplitSummary(
        rows=images.rows,
        class_counts=tuple(images.class_counts(info.num_classes).tolist()),
        digest=digest,
        mean_intensity=images.pixel_sum / (images.rows * white),
        sizes=sizes_of(groups, groups["images"]) if info.resize else None,
        size_counts=size_counts(groups) if info.resize else (),
        grey=int(groups["images"][groups["grey"]].sum()) if info.image_shape[2] == 3 else None,
        intensities=tuple(images.intensities.tolist()),
        regions=tuple(map(tuple, images.looks[:-1].tolist())),
        contrasts=tuple(images.looks[-1].tolist()),
    )
