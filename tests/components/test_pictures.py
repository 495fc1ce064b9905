import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import pictures
from components.pictures import MAX_SIDE, Bin, Picture, Pictures

SHOWN = Pictures(
    {
        "wrong": (
            Picture(
                "test", 3, "ab" * 32, "4", "cGljdHVyZQ==", "9", 0.5, (("9", 0.7), ("4", 0.2)), ()
            ),
        ),
        "lost": (),
    },
    examined=10,
    bins=(Bin(6, 0.9, 0.95), Bin(4, 0.5, 0.4)),
)


def decoded(png: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(png)))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    pictures.write(SHOWN, tmp_path / "blessing")
    assert pictures.read(tmp_path / "blessing") == SHOWN
    assert pictures.read(tmp_path) is None


def test_a_damaged_file_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / pictures.FILE).write_text('{"groups": []}')
    with pytest.raises(ValueError, match="examined"):
        pictures.read(tmp_path)


def test_the_calibration_error_is_weighted_by_the_examples() -> None:
    # (6 |0.95 - 0.9| + 4 |0.4 - 0.5|) / 10
    assert SHOWN.calibration_error == pytest.approx(0.07)
    assert Pictures({}, examined=0).calibration_error is None


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [((28, 28, 1), (28, 28), "L"), ((200, 100, 3), (MAX_SIDE // 2, MAX_SIDE), "RGB")],
)
def test_a_thumbnail_has_at_most_64_pixels_a_side(shape: tuple, size: tuple, mode: str) -> None:
    pixels = np.full(shape, 200, np.uint8)
    image = decoded(pictures.thumbnail(pixels))
    assert (image.size, image.mode) == (size, mode)
    assert np.asarray(image).min() == 200


def test_answers_are_the_most_probable_classes() -> None:
    names = ("cat", "dog", "eel", "fox")
    given = pictures.answers(np.array([0.1, 0.6, 0.05, 0.25]), names)
    assert given == (("dog", 0.6), ("fox", 0.25), ("cat", 0.1))
    assert pictures.answers(np.array([0.1, np.nan, 0.05, 0.25]), names) == ()
    assert pictures.answers(np.array([]), names) == ()
