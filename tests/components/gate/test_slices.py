"""Slices by bands and by values: their text, their names, and which value lies in which."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gate.slices import Bands, Values, parse

THIRDS = Bands("mean_intensity", (0.11, 0.147))


def test_the_text_is_read_and_written() -> None:
    assert Bands.parse("mean_intensity:0.11,0.147") == THIRDS
    assert str(THIRDS) == "mean_intensity:0.11,0.147"


def test_a_band_is_named_by_its_edges() -> None:
    assert THIRDS.names == (
        *("mean_intensity<0.11", "0.11<=mean_intensity<0.147", "0.147<=mean_intensity"),
    )


@pytest.mark.parametrize(
    ("value", "band"),
    [(-math.inf, 0), (0.1099, 0), (0.11, 1), (0.1469, 1), (0.147, 2), (1.0, 2)],
)
def test_a_value_on_an_edge_lies_above_it(value: float, band: int) -> None:
    for precision in (np.float64, np.float32):
        assert THIRDS.places(np.array([value], precision)) == band


@given(
    edges=st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True
    ),
    value=st.floats(),
)
def test_every_value_has_one_named_band(edges: list[float], value: float) -> None:
    bands = Bands("weight", tuple(sorted(edges)))
    assert bands.names[bands.places(np.array([value]))[0]]
    assert len(bands.names) == len(edges) + 1
    assert Bands.parse(str(bands)) == bands


@pytest.mark.parametrize("text", ["", "weight", "weight:", ":0.1", "weight:a", "weight:0.1,"])
def test_what_is_no_slice_is_one_clear_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"a slice is .*, expected .*mean_intensity:0\.1,0\.15"):
        Bands.parse(text)


@pytest.mark.parametrize(
    "edges", [(), (0.2, 0.1), (0.1, 0.1), (math.inf,), (math.nan,), (0.1, math.inf)]
)
def test_edges_must_rise_and_be_finite(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="with rising finite edges"):
        Bands("weight", edges)


def test_whole_numbers_are_cut_at_edges_between_them() -> None:
    assert Bands("height", (27.5,)).places(np.array([27, 28])).tolist() == [0, 1]


CAMERAS = Values("camera", ("front", "rear"))


def test_values_are_read_and_written_and_named() -> None:
    assert parse(" camera = front, rear ") == CAMERAS
    assert parse(str(CAMERAS)) == CAMERAS
    assert parse(str(THIRDS)) == THIRDS
    assert CAMERAS.names == ("camera=front", "camera=rear", "camera=(other)")


@pytest.mark.parametrize(
    ("value", "place"), [("front", 0), (b"rear", 1), ("roof", 2), ("", 2), ("Front", 2)]
)
def test_each_value_lies_in_its_slice_or_in_the_last(value: str | bytes, place: int) -> None:
    assert CAMERAS.places(np.array([value], object)) == place


def test_whole_numbers_are_values_too() -> None:
    sites = parse("site=1,12")
    assert sites.places(np.array([1, 12, 2])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", ["camera=", "=front", "camera=a,a", "camera=a,,b", "c=(other)"])
def test_what_is_no_list_of_values_is_one_clear_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"a slice is .*, expected .*camera=front,rear"):
        parse(text)


def test_numbers_are_cut_into_bands_and_texts_by_value() -> None:
    kinds = ("int64", "float32", "str")
    assert [kind for kind in kinds if THIRDS.takes(kind)] == ["int64", "float32"]
    assert [kind for kind in kinds if CAMERAS.takes(kind)] == ["int64", "str"]
