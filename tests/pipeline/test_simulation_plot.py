"""The operating curve as a picture: what is on it. Whether it is good, eyes must say."""

import io

import numpy as np
import pytest
from PIL import Image

from components.gate.policy import GateConfig
from components.gate.simulation import Point, Setting
from pipeline.dataset_defaults import policy_for
from pipeline.simulation_plot import draw

POLICY = policy_for(GateConfig(), "mnist", num_classes=10, test_rows=10_000)
SETTING = Setting(rows=10_000, num_classes=10, accuracy=0.994, discordance=0.0047)


def picture(refused: list[int], step: float = 0.001) -> np.ndarray:
    points = [Point(step * i, 100, count, {}) for i, count in enumerate(refused)]
    return np.asarray(Image.open(io.BytesIO(draw(points, SETTING, POLICY, "mnist"))).convert("RGB"))


def test_it_is_a_png_that_is_large_enough_to_read() -> None:
    height, width, _ = picture([10, 60, 95]).shape
    assert (width, height) == (1200, 750)


def test_other_probabilities_give_another_curve() -> None:
    assert (picture([10, 60, 95]) != picture([10, 40, 95])).any()


@pytest.mark.parametrize("points", [1, 30])
def test_one_point_and_many_are_drawn_as_well(points: int) -> None:
    assert picture([50] * points).std() > 0
