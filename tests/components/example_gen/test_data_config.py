import dataclasses

import pytest

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.opening import image_layout, open_dataset

ONE = ((28, 28),) * 3
MANY = ((10, 40), (48, 64), (300, 200))


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("64", (64, 64)), ("48x64", (48, 64)), (" 7x9 ", (7, 9))]
)
def test_a_size_is_height_and_width_or_one_number_for_both(text: str, size: object) -> None:
    assert DataConfig(image_size=text).size == size


@pytest.mark.parametrize("text", ["0", "64x", "x64", "64x64x3", "64*64", "-3", "4097", "big", ""])
def test_another_text_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"data\.image_size is .*, expected height and width"):
        DataConfig(image_size=text)


def test_images_have_one_or_three_channels() -> None:
    with pytest.raises(ValueError, match=r"data\.channels is 2, expected 1 for grey, 3 for colour"):
        DataConfig(channels=2)
    with pytest.raises(ValueError, match=r"channels is 4, expected a whole number from 0"):
        DataConfig(channels=4)


@pytest.mark.parametrize(
    ("given", "as_is", "layout"),
    [
        ({}, True, ((28, 28, 3), "")),
        ({"channels": 3}, True, ((28, 28, 3), "")),
        # It says that other sizes may come: the input of the model must not change when they do.
        ({"image_size": "28"}, True, ((28, 28, 3), "pad")),
        ({}, False, ((28, 28, 3), "pad")),
        ({"channels": 1}, True, ((28, 28, 1), "pad")),
        ({"image_size": "32x24", "resize": "crop"}, True, ((32, 24, 3), "crop")),
    ],
)
def test_a_set_of_one_shape_keeps_it_unless_told(
    given: dict[str, object], as_is: bool, layout: object
) -> None:
    data = DataConfig(**given)  # type: ignore[arg-type]
    assert image_layout("x", data, sizes=ONE, channels=3, as_is=as_is) == layout


def test_differing_sizes_need_one_for_the_network() -> None:
    with pytest.raises(
        DataError,
        match=r"'folder:/x' has images of differing sizes: 10x40 the smallest, 48x64 the median, "
        r"300x200 the largest \(height x width\); choose the network's, such as "
        r"--set data.image_size=64",
    ):
        image_layout("folder:/x", DataConfig(), sizes=MANY, channels=1, as_is=True)
    data = DataConfig(image_size="64")
    assert image_layout("x", data, sizes=MANY, channels=1, as_is=True) == ((64, 64, 1), "pad")


def test_a_source_that_knows_one_shape_alone_is_resized_all_the_same() -> None:
    data = DataConfig(image_size="14x20", channels=3, resize="stretch")
    info = open_dataset("mnist_sample", data, data_dir=None).info
    assert (info.image_shape, info.resize) == ((14, 20, 3), "stretch")
    assert DataConfig(**info.data) == data
    assert type(info).from_json(info.to_json()) == info


@pytest.mark.parametrize(
    "given",
    [{"test_fraction": 0.5}, {"skip_unreadable": 3}, {"resize": "crop"}, {"channels": 1}],
)
def test_what_changes_nothing_makes_no_other_set(given: dict[str, object]) -> None:
    data = DataConfig(**given)  # type: ignore[arg-type]
    plain, other = (
        open_dataset("mnist_sample", one, data_dir=None).info for one in (DataConfig(), data)
    )
    assert other.to_json() == plain.to_json()


def test_a_description_with_sizes_and_extra_features_survives_json() -> None:
    info = open_dataset("mnist_sample", data_dir=None).info
    assert (info.image_shape, info.resize, info.sizes) == ((28, 28, 1), "", None)
    changed = dataclasses.replace(info, sizes=MANY, extra={"camera": "str"}, resize="pad")
    assert type(info).from_json(changed.to_json()) == changed
