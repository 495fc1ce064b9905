import numpy as np
import pytest

from components.example_gen.example_facts import FACTS
from components.example_gen.image_set import DatasetInfo
from components.example_gen.stored_sizes import sizes_of
from components.example_gen.totals import Totals, joined_totals, split_summary, totals_of
from components.monitoring.counts import INTENSITY_BINS

SHAPE = (4, 4, 3)
INFO = DatasetInfo("photos", "photos", "0" * 64, SHAPE, ("a", "b", "c"), 1, resize="pad")


@pytest.fixture
def facts() -> np.ndarray:
    rng = np.random.default_rng(0)
    made = np.zeros(200, FACTS)
    made["label"] = rng.integers(0, 3, 200)
    made["height"], made["width"] = rng.integers(4, 9, (2, 200))
    made["grey"] = rng.integers(0, 2, 200)
    made["pixel_sum"] = rng.integers(0, 255 * 48 + 1, 200)
    made["pixel_sum"][:2] = 0, 255 * 48  # black and white
    made["regions"] = rng.integers(0, 256, (200, 16))
    made["contrast"] = rng.integers(0, 256, 200)
    return made


def same(one: Totals, other: Totals) -> bool:
    return (
        one.groups.tolist() == other.groups.tolist()
        and one.pixel_sum == other.pixel_sum
        and one.intensities.tolist() == other.intensities.tolist()
        and one.looks.tolist() == other.looks.tolist()
    )


def test_parts_add_up_in_any_order(facts: np.ndarray) -> None:
    parts = [totals_of(part, SHAPE) for part in np.split(facts, [10, 10, 90])]
    whole = totals_of(facts, SHAPE)
    assert same(joined_totals(parts), whole)
    assert same(joined_totals([parts[3], joined_totals([parts[2], parts[0]]), parts[1]]), whole)


def test_a_part_is_taken_away(facts: np.ndarray) -> None:
    rest = totals_of(facts, SHAPE).without(totals_of(facts[:60], SHAPE))
    assert same(rest, totals_of(facts[60:], SHAPE))
    assert rest.without(rest).rows == 0


def test_nothing_adds_up_to_nothing() -> None:
    assert same(joined_totals([]), totals_of(np.empty(0, FACTS), SHAPE))


def test_a_split_is_summarized_as_by_a_look_at_each_image(facts: np.ndarray) -> None:
    summary = split_summary(INFO, totals_of(facts, SHAPE), "d" * 64)
    means = facts["pixel_sum"] / (255 * 48)
    bins, _ = np.histogram(means, bins=INTENSITY_BINS, range=(0.0, 1.0))
    assert summary.rows == 200
    assert summary.class_counts == tuple(np.bincount(facts["label"]).tolist())
    assert summary.digest == "d" * 64
    assert summary.mean_intensity == pytest.approx(means.mean())
    assert summary.sizes == sizes_of(facts)
    assert summary.grey == facts["grey"].sum()
    assert summary.intensities == tuple(bins.tolist())
    for region, counts in enumerate(summary.regions):
        expected, _ = np.histogram(facts["regions"][:, region], bins=16, range=(0, 256))
        assert counts == tuple(expected.tolist())
    expected, _ = np.histogram(facts["contrast"], bins=16, range=(0, 256))
    assert summary.contrasts == tuple(expected.tolist())
    sides = np.sqrt(facts["height"] * facts["width"])
    assert summary.size_counts == tuple(
        np.bincount(np.rint(4 * np.log2(sides)).astype(int), minlength=128).tolist()
    )
