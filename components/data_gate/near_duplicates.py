"""Finds the test images that also stand in the training data, pixel by pixel or nearly.

    search = NearDuplicateSearch(test_images)     # [N, H, W, C] uint8
    search.look_in(train_images)                  # once for each batch
    search.found                                  # [N] bool
    search.matches                                # [N] int64: which of the train images it is

Few values of two near-duplicates differ by more than noise; both bounds follow from the test
images (docs/decisions/0006-label-noise-and-near-duplicates.md). Of each batch only the nearest
image by block means is compared value by value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.data_gate.block_means import block_means
from components.pictures import DRAWN

_NOISE = 0.2  # standard deviations of the values
_FEW = 0.05  # of the values that differ between two images drawn at random
_PAIRS = 1000  # drawn at random, to count the values that differ
_MEANS = 64  # per image at most, of all channels; at least one block per channel
_AT_ONCE = 1000  # test images: their distances to a batch stay in the processor's cache

Images = npt.NDArray[np.uint8]


class NearDuplicateSearch:
    """Looks for near-duplicates of some images in others, batch by batch."""

    def __init__(self, images: Images) -> None:
        """Takes the images to look for, [N, H, W, C] uint8, N of 1 or more, in random order."""
        self._side = max(1, int((_MEANS / images.shape[3]) ** 0.5))
        self._images = images.reshape(len(images), -1)
        means = block_means(images, self._side)
        self._means = np.column_stack([means, np.ones_like(means[:, :1])])  # [N, means + 1]
        self._nearest = np.full(len(images), np.inf, np.float32)  # squared distances of means
        self._noise = round(_NOISE * float(self._images.std()))
        others = np.roll(self._images, 1, axis=0)[:_PAIRS]
        self._few = _FEW * float(np.median(self._differing(self._images[:_PAIRS], others)))
        self.found: npt.NDArray[np.bool_] = np.zeros(len(images), bool)
        # Of those that were found: the number of the image, counted over all that were looked in.
        self.matches: npt.NDArray[np.int64] = np.full(len(images), -1)
        self.partners: dict[int, Images] = {}  # the images themselves, of the first few
        self._looked_in = 0

    def look_in(self, images: Images) -> None:
        """Takes a batch, [n, H, W, C] uint8; n x 4 KB of distances are in memory at a time."""
        means = block_means(images, self._side)
        # |a - b|^2 = |a|^2 - 2ab + |b|^2, where |a|^2 does not change which b is the nearest.
        factors = np.column_stack([-2.0 * means, np.square(means).sum(axis=1)]).T
        nearest = np.empty(len(self._images), np.int64)  # a row of `images` each
        smallest = np.empty(len(self._images), np.float32)
        for start in range(0, len(self._images), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            distances = self._means[some] @ factors
            nearest[some] = distances.argmin(axis=1)
            smallest[some] = distances[np.arange(len(distances)), nearest[some]]
        # An image further away than one seen before cannot be the duplicate.
        rows = np.flatnonzero((smallest < self._nearest) & ~self.found)
        self._nearest[rows] = smallest[rows]
        others = images.reshape(len(images), -1)[nearest[rows]]
        differing = self._differing(self._images[rows], others)
        equal = (self._images[rows] == others).all(axis=1)
        self.found[rows] = (differing < self._few) | equal
        for row in rows[self.found[rows]]:
            self.matches[row] = self._looked_in + nearest[row]
            if len(self.partners) < DRAWN:
                self.partners[int(row)] = images[nearest[row]].copy()
        self._looked_in += len(images)

    def _differing(self, images: Images, others: Images) -> npt.NDArray[np.int64]:
        apart = np.maximum(images, others) - np.minimum(images, others)
        return np.count_nonzero(apart > self._noise, axis=1)
