"""A data set held in memory: what the IDX and sample readers hand to the preparation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from components.example_gen.errors import DataError

TRAIN = "train"
TEST = "test"

Images = npt.NDArray[np.uint8]  # [N, H, W, C], 0..255
Labels = npt.NDArray[np.int64]  # [N], 0 .. classes - 1


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels: [N, H, W, C] uint8 and [N] int64."""

    images: Images
    labels: Labels


@dataclasses.dataclass(frozen=True)
class ImageArrays:
    """A whole data set.

    Attributes:
      name: as `DatasetInfo.name`.
      fingerprint: hexadecimal SHA-256 of the source's content.
      class_names: one per label.
      splits: "train" and "test".
    """

    name: str
    fingerprint: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.splits[TRAIN].images.shape[1:]
        return height, width, channels


def class_count(source: str, train: Split, test: Split) -> int:
    """How many classes the labels speak of: the highest training label plus one.

    Raises:
      DataError: a split is empty, the shapes differ, there are fewer than two classes, a class has
        no image in a split, or the test split has a label that training has not.
    """
    for name, split in ((TRAIN, train), (TEST, test)):
        if not len(split.labels):
            raise DataError(f"{source}: the {name} split is empty, expected at least one image")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{source}: images of differing shapes: {_shape(train.images)} in train, "
            f"{_shape(test.images)} in test; expected one shape in both"
        )
    count = int(train.labels.max()) + 1
    if count < 2:
        raise DataError(f"{source}: the training labels name one class, expected two or more")
    if int(test.labels.max()) >= count:
        raise DataError(
            f"{source}: label {int(test.labels.max())} in test is out of range, "
            f"expected 0 to {count - 1}, the labels of train"
        )
    for name, split in ((TRAIN, train), (TEST, test)):
        missing = np.flatnonzero(np.bincount(split.labels, minlength=count) == 0)
        if len(missing):
            raise DataError(missing_class(source, name, [str(label) for label in missing], count))
    return count


def missing_class(source: str, split: str, missing: list[str], count: int) -> str:
    """The line that refuses a split without images of some class."""
    return (
        f"{source}: the {split} split has no image of class {', '.join(missing)}, "
        f"expected each of the {count} classes in it"
    )


def _shape(images: Images) -> str:
    return "x".join(str(size) for size in images.shape[1:])
