"""Which of a set's features are its image and its label, and whether we can use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from components.example_gen.errors import DataError


@dataclasses.dataclass(frozen=True)
class ImageAndLabel:
    """The two features of a classification set.

    Attributes:
      image_key: the image's key in the set's features.
      label_key: the label's key.
      image_shape: (height, width, channels).
      class_names: one per label.
    """

    image_key: str
    label_key: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]


def find_keys(info: tfds.core.DatasetInfo, dataset: str) -> ImageAndLabel:
    """Finds the image and the label of a tensorflow-datasets set.

    They are the set's supervised keys, else what is called "image" and "label", else the only
    image and the only class label.

    Args:
      info: of the builder; it need not be prepared.
      dataset: the set's name, for messages.

    Raises:
      DataError: there is no such pair, or images that we cannot pass through: of no fixed shape,
        not 8 bits deep, not stored as PNG.
    """
    flat = isinstance(info.features, tfds.features.FeaturesDict)
    features = dict(info.features.items()) if flat else {}
    supervised = info.supervised_keys or (None, None)
    image_key = _pick(features, dataset, _is_image, (supervised[0], "image"))
    label_key = _pick(features, dataset, _is_label, (supervised[1], "label"))
    image, label = features[image_key], features[label_key]
    if label.num_classes is None or label.num_classes < 2:
        raise DataError(
            f"dataset {dataset!r}: label {label_key!r} has {label.num_classes or 'no'} classes, "
            "expected two or more"
        )
    return ImageAndLabel(
        image_key=image_key,
        label_key=label_key,
        image_shape=_usable_shape(image, dataset),
        class_names=tuple(str(name) for name in label.names),
    )


def _is_image(feature: Any) -> bool:
    # A labelled image is a segmentation mask, not a picture.
    return isinstance(feature, tfds.features.Image) and not isinstance(
        feature, tfds.features.LabeledImage
    )


def _is_label(feature: Any) -> bool:
    return isinstance(feature, tfds.features.ClassLabel)


def _pick(
    features: Mapping[str, Any],
    dataset: str,
    wanted: Callable[[Any], bool],
    preferred: tuple[Any, str],
) -> str:
    """The first preferred key that is of the wanted kind, or else the only one of that kind."""
    keys = [key for key, feature in features.items() if wanted(feature)]
    for key in preferred:
        if key in keys:
            return str(key)
    if len(keys) != 1:
        have = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
        raise DataError(
            f"dataset {dataset!r} has {len(keys) or 'no'} {preferred[1]} "
            f"feature{'s' * (len(keys) > 1)} among {have or 'its features'}; expected a set with "
            "one image and one class label"
        )
    return keys[0]


def _usable_shape(image: Any, dataset: str) -> tuple[int, int, int]:
    shape = tuple(image.shape)
    if len(shape) != 3 or None in shape:
        raise DataError(
            f"dataset {dataset!r} has images of differing shapes (declared "
            f"{'x'.join('?' if size is None else str(size) for size in shape)}), expected one "
            "height, width and number of channels for all of them"
        )
    if np.dtype(image.np_dtype) != np.uint8:
        raise DataError(
            f"dataset {dataset!r} has images of {np.dtype(image.np_dtype).name}, expected uint8"
        )
    if image.encoding_format not in (None, "png"):
        raise DataError(
            f"dataset {dataset!r} stores its images as {image.encoding_format}, expected png, "
            "which is passed through unchanged"
        )
    height, width, channels = shape
    return height, width, channels
