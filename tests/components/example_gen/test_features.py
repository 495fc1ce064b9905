from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from components.example_gen.errors import DataError
from components.example_gen.features import find_keys

Image = tfds.features.Image
PNG = Image(shape=(4, 5, 1), encoding_format="png")
LABEL = tfds.features.ClassLabel(names=["a", "b"])


class FakeInfo:
    """The two attributes of tfds.core.DatasetInfo that are asked for."""

    def __init__(self, features: Any, supervised_keys: Any = None) -> None:
        self.features = features
        self.supervised_keys = supervised_keys


def info(supervised_keys: Any = None, **features: Any) -> FakeInfo:
    return FakeInfo(tfds.features.FeaturesDict(features), supervised_keys)


def test_shape_and_classes_come_from_the_features() -> None:
    found = find_keys(info(image=PNG, label=LABEL), "x")
    assert (found.image_shape, found.class_names) == ((4, 5, 1), ("a", "b"))


def test_supervised_keys_go_first() -> None:
    found = find_keys(
        info(("photo", "coarse"), image=PNG, photo=PNG, label=LABEL, coarse=LABEL), "x"
    )
    assert (found.image_key, found.label_key) == ("photo", "coarse")


def test_then_the_features_of_that_name() -> None:
    found = find_keys(info(image=PNG, mask=PNG, label=LABEL, coarse=LABEL), "x")
    assert (found.image_key, found.label_key) == ("image", "label")


def test_then_the_only_ones_of_their_kind() -> None:
    found = find_keys(info(("id", "photo"), id=LABEL, photo=PNG), "x")
    assert (found.image_key, found.label_key) == ("photo", "id")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"text": tfds.features.Text(), "label": LABEL}, "'x' has no image feature among text"),
        ({"image": PNG}, "'x' has no label feature among image"),
        ({"left": PNG, "right": PNG, "label": LABEL}, "'x' has 2 image features among left"),
        ({"image": Image(), "label": LABEL}, r"differing shapes \(declared \?x\?x3\)"),
        (
            {"image": Image(shape=(4, 5, 3), encoding_format="jpeg"), "label": LABEL},
            "stores its images as jpeg, expected png",
        ),
        (
            {"image": Image(shape=(4, 5, 1), dtype=np.uint16), "label": LABEL},
            "images of uint16, expected uint8",
        ),
        (
            {"image": PNG, "label": tfds.features.ClassLabel(num_classes=1)},
            "has 1 classes, expected two or more",
        ),
    ],
)
def test_a_set_without_a_usable_image_and_label_is_refused(
    features: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_keys(info(**features), "x")
