"""Drift of the images' intensities against the last release, beside SciPy's test."""

import dataclasses
import re

import numpy as np
import pytest
from scipy import ndimage, stats

from components.data_gate.bounds import DataGateConfig
from components.data_gate.drift_checks import (
    drift_check,
    drift_checks,
    intensity_check,
    size_check,
)
from components.example_gen.example_facts import GRID, facts_of
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary
from components.example_gen.image_set import TRAIN, DatasetInfo
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from components.example_gen.totals import split_summary, totals_of

SHAPE = (28, 28, 1)
INFO = DatasetInfo("digits", "digits", "0" * 64, SHAPE, ("0",), 1)


def summary_of(pixels: np.ndarray) -> SplitSummary:
    facts = facts_of(pixels, np.zeros(len(pixels), np.int64))
    return split_summary(INFO, totals_of(facts, SHAPE), "d" * 64)


@pytest.fixture(scope="module")
def halves() -> tuple[np.ndarray, np.ndarray]:
    """The embedded sample's images of train, 2,000 and 2,000."""
    pixels, _ = read_arrays(open_dataset("mnist_sample", data_dir=None), TRAIN)
    pixels = np.random.default_rng(0).permutation(pixels)
    return pixels[:2000], pixels[2000:]


def test_other_images_of_the_same_kind_are_no_drift(halves):
    then, now = map(summary_of, halves)
    assert intensity_check(now, then, bound=0.1).passed


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda pixels: 255 - pixels, ""),
        (lambda pixels: np.minimum(pixels, 225) + 30, ""),
        (lambda pixels: pixels[:, :, ::-1], " in row . and column . of a grid of 4"),
        (lambda pixels: pixels[:, ::-1], " in row . and column . of a grid of 4"),
        (lambda pixels: pixels.transpose(0, 2, 1, 3), " in row . and column . of a grid of 4"),
        (lambda pixels: np.roll(pixels, 2, axis=2), " in row . and column . of a grid of 4"),
        (lambda pixels: ndimage.uniform_filter(pixels, (0, 3, 3, 0)), None),
    ],
    ids=[
        "inverted",
        "brighter",
        "mirrored",
        "upside down",
        "transposed",
        "two pixels aside",
        "blurred",
    ],
)
def test_images_that_look_otherwise_are_refused(halves, change, where):
    then, now = halves
    refused = intensity_check(summary_of(change(now)), summary_of(then), bound=0.1)
    assert not refused.passed
    assert refused.actual > 0.1
    look = "contrasts .*" if where is None else f"mean intensities{where}"
    assert re.search(f"the images' {look} are [01]", refused.sentence)
    assert "set data_gate.max_intensity_drift" in refused.sentence


def test_it_is_scipys_test_on_the_bins(halves):
    then, now = (summary_of(pixels[:400]) for pixels in halves)
    found = intensity_check(now, then, bound=0.0)
    looks = ((one.intensities, *one.regions, one.contrasts) for one in (then, now))
    parts = zip(*looks, strict=True)
    expected = [
        stats.ks_2samp(
            *(np.repeat(np.arange(len(counts)), counts) for counts in pair), method="asymp"
        )
        for pair in parts
    ]
    largest = max(expected, key=lambda one: one.statistic)
    assert found.actual == pytest.approx(largest.statistic)
    chance = float(re.findall(r"\(p = (\S+)\)", found.sentence)[0])
    assert chance == pytest.approx(min(1.0, 18 * largest.pvalue), rel=0.3)


def test_of_few_images_a_distance_that_chance_explains_is_no_drift(halves):
    then = summary_of(halves[0])
    rng = np.random.default_rng(0)
    distances, alarms = [], 0
    for _ in range(300):
        found = intensity_check(summary_of(rng.permutation(halves[1])[:20]), then, bound=0.1)
        distances.append(found.actual)
        alarms += not found.passed
    assert min(distances) > 0.1
    good = "at most 0.1 apart is allowed, or what chance makes once in 1000 times"
    assert found.sentence.endswith(good)
    assert alarms <= 3  # 0.3 are expected at most


@pytest.mark.parametrize("left_out", ["intensities", "regions"])
def test_without_a_record_it_says_that_it_is_skipped(halves, left_out):
    now = summary_of(halves[1])
    then = dataclasses.replace(now, **{left_out: ()})
    found = intensity_check(now, then, bound=0.1)
    assert (found.passed, found.actual) == (True, None)
    assert "did not record it" in found.sentence


def test_before_the_first_release_it_says_that_it_is_skipped(halves):
    assert (
        "no release to compare with" in intensity_check(summary_of(halves[1]), None, 0.1).sentence
    )


def test_a_release_that_did_not_record_contrasts_is_compared_without_them(halves):
    then, now = map(summary_of, halves)
    blurred = summary_of(ndimage.uniform_filter(halves[1], (0, 3, 3, 0)))
    then = dataclasses.replace(then, contrasts=())
    assert intensity_check(blurred, then, bound=0.1).passed
    assert intensity_check(now, then, bound=0.1).passed


ROWS = 100
REGIONS = GRID * GRID
LOW, HIGH = (ROWS, *[0] * 15), (*[0] * 15, ROWS)


def looks(place: int | None = None, above: int = 0) -> SplitSummary:
    """Of 100 images, so many above the others, and one look, a region or the contrast, changed."""
    parts = [HIGH if at == place else LOW for at in range(REGIONS + 1)]
    whole = (ROWS - above, above, *[0] * 198)
    return SplitSummary(
        ROWS,
        (ROWS,),
        "d" * 64,
        0.5,
        intensities=whole,
        regions=tuple(parts[:REGIONS]),
        contrasts=parts[REGIONS],
    )


@pytest.mark.parametrize(
    ("place", "look"),
    [
        (0, "mean intensities in row 1 and column 1 of a grid of 4"),
        (6, "mean intensities in row 2 and column 3 of a grid of 4"),
        (15, "mean intensities in row 4 and column 4 of a grid of 4"),
        (REGIONS, "contrasts (standard deviations)"),
    ],
)
def test_one_look_that_changed_is_refused_whatever_chance_does_to_the_whole(place, look):
    # By chance 15 of 100 images are brighter, which is more than the bound and p = 0.2.
    check = intensity_check(looks(place, above=15), looks(), bound=0.1)
    assert (check.passed, check.actual) == (False, 1.0)
    assert check.sentence.startswith(
        f"train: the images' {look} are 1.0000 apart from those of the last release (p < 1e-16), "
    )
    assert intensity_check(looks(above=15), looks(), bound=0.1).passed


def sized(halves, rng: np.random.Generator, least: int, most: int) -> SplitSummary:
    images = halves[0][:500]
    stored = np.broadcast_to(rng.integers(least, most, (500, 1)), (500, 3))
    facts = facts_of(images, np.zeros(500, np.int64), stored)
    return split_summary(dataclasses.replace(INFO, resize="pad"), totals_of(facts, SHAPE), "d" * 64)


def test_images_of_other_sizes_than_in_the_last_release_are_refused(halves):
    rng = np.random.default_rng(0)
    then = sized(halves, rng, 200, 400)
    again = size_check(sized(halves, rng, 200, 400), then, bound=0.5)
    assert again.passed
    assert again.actual < 0.1
    refused = size_check(sized(halves, rng, 350, 800), then, bound=0.5)
    assert not refused.passed
    assert refused.actual > 0.5
    assert "set data_gate.max_size_drift" in refused.sentence
    unrecorded = size_check(then, summary_of(halves[0]), bound=0.5)
    assert unrecorded.sentence == "drift of the sizes skipped: the last release did not record it"
    assert "no release to compare with" in size_check(then, None, bound=0.5).sentence
    assert size_check(then, None, bound=0.5).passed


@pytest.mark.parametrize(
    ("now", "passes"),
    [
        ((5_000, 5_000), True),  # the distance is the bound itself, and sure
        ((4_999, 5_001), False),
        ((3, 5), True),  # beyond the bound; p = 0.004, which chance makes
        ((0, 20), False),
    ],
)
def test_sizes_beyond_the_bound_that_chance_does_not_explain_are_refused(now, passes):
    before, after = (
        dataclasses.replace(looks(), size_counts=counts) for counts in ((10_000, 0), now)
    )
    assert size_check(after, before, bound=0.5).passed is passes


def test_of_few_images_a_class_mix_that_chance_explains_is_no_drift():
    # 200 images of ten classes each time: a share moves by more than 0.05 in 56 % of cases.
    rng = np.random.default_rng(0)
    mixes = rng.multinomial(200, np.full(10, 0.1), (300, 2))
    found = [
        drift_check(*(dict(enumerate(mix.tolist())) for mix in pair), bound=0.05) for pair in mixes
    ]
    assert sum(one.actual > 0.05 for one in found) > 100
    assert sum(not one.passed for one in found) <= 3  # 0.3 are expected at most


@pytest.mark.parametrize(
    ("now", "passes", "chance"),
    [
        # 8 points more than a half, in 50, 500 and 1,000 images; two classes, so twice Fisher's p.
        ((29, 21), True, "1"),
        ((290, 210), True, "0.027"),
        ((580, 420), False, "0.00078"),
        ((6, 44), False, "0.00014"),
    ],
)
def test_a_class_mix_that_chance_does_not_explain_is_refused(now, passes, chance):
    rows = sum(now)
    check = drift_check(
        {"cat": now[0], "dog": now[1]}, {"cat": rows // 2, "dog": rows // 2}, bound=0.05
    )
    assert check.passed is passes
    assert check.actual == pytest.approx(abs(now[0] / rows - 0.5))
    assert f" (p = {chance}), " in check.sentence


def test_a_class_that_became_rarer_is_refused_although_no_other_one_came_much_more_often():
    now, then = (100, 300, 300, 300), (250, 250, 250, 250)
    check = drift_check(*(dict(enumerate(counts)) for counts in (now, then)), bound=0.1)
    assert not check.passed
    assert check.sentence.startswith("train: share of class 0 went from 0.2500 to 0.1000")


@pytest.mark.parametrize("cats", [1_000, 1_900])
def test_a_change_within_the_bound_passes_however_sure_it_is(cats):
    # From 0.25, which is exact in binary, and from 0.475 to 0.5.
    check = drift_check(
        {"cat": 2_000, "dog": 2_000}, {"cat": cats, "dog": 4_000 - cats}, bound=0.25
    )
    assert (check.passed, check.actual) == (True, 0.5 - cats / 4_000)


def test_a_rare_class_that_chance_does_not_explain_is_named_before_one_that_moved_further():
    now = {"cat": 50, "dog": 75, "owl": 15}  # by 0.14 (p = 0.06 of three), 0.04 and 0.11
    then = {"cat": 70, "dog": 70, "owl": 0}
    check = drift_check(now, then, bound=0.05)
    assert not check.passed
    assert check.sentence.startswith("train: share of class owl went from 0.0000 to 0.1071")


@pytest.mark.parametrize(
    ("then", "sentence"),
    [
        ({"dog": 5, "cat": 5}, "label 0 is cat, expected dog"),
        ({"ape": 5, "cat": 5}, "with dog, expected ape"),
        ({"cat": 5, "dog": 5, "owl": 5}, "2 classes, without owl, expected 3"),
    ],
)
def test_other_classes_than_the_release_are_refused_whatever_the_bound(then, sentence):
    check = drift_check({"cat": 5, "dog": 5}, then, bound=1.0)

    assert not check.passed
    assert sentence in check.sentence


@pytest.mark.parametrize(("now", "then"), [(0, 5), (5, 0)])
def test_drift_from_or_to_no_examples_is_refused(now, then):
    check = drift_check({"cat": now}, {"cat": then}, bound=1.0)

    assert not check.passed
    assert check.sentence.startswith(f"train: {now} examples, {then} in the last release, expected")


def examples(train: SplitSummary, resize: str = "pad") -> ExamplesSummary:
    splits = {TRAIN: train}
    return ExamplesSummary("digits", "0" * 64, SHAPE, ("0",), splits, Overlap(0, ()), resize)


BOUNDS = DataGateConfig(max_class_drift=0.1, max_intensity_drift=0.2, max_size_drift=0.3)


def test_each_kind_of_drift_has_its_own_bound(halves):
    rng = np.random.default_rng(0)
    then, now = (examples(sized(halves, rng, least, 2 * least)) for least in (200, 800))
    found = {check.name: check for check in drift_checks(now, then, BOUNDS)}
    assert {name: check.required for name, check in found.items()} == {
        "data.shape": "28x28x1 after resizing",
        "data.drift": 0.1,
        "data.intensity": 0.2,
        "data.size_drift": 0.3,
    }
    assert [name for name, check in found.items() if not check.passed] == ["data.size_drift"]
    first = [check.name for check in drift_checks(now, None, BOUNDS)]
    assert first == ["data.drift", "data.intensity", "data.size_drift"]
    fixed = examples(summary_of(halves[0]), resize="")
    again = [check.name for check in drift_checks(fixed, fixed, BOUNDS)]
    assert again == ["data.shape", "data.drift", "data.intensity"]


@pytest.mark.parametrize(
    ("then", "now", "passes"),
    [("", "", True), ("pad", "pad", True), ("pad", "", True), ("", "pad", False)],
)
def test_a_served_model_that_takes_one_shape_takes_no_images_of_all_sizes(
    halves, then, now, passes
):
    before, after = (examples(summary_of(halves[0]), resize) for resize in (then, now))
    shape, *_ = drift_checks(after, before, BOUNDS)
    assert (shape.name, shape.passed) == ("data.shape", passes)
    if not passes:
        assert shape.sentence.endswith(
            "which takes no others; store the images as PNG of that shape and leave "
            "data.image_size and data.channels out, or release to another --serving-dir"
        )


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        ({"class_names": ("1",)}, "data.drift"),
        ({"image_shape": (32, 24, 3)}, "data.shape"),
    ],
)
def test_images_of_other_classes_or_another_shape_look_different_for_that_reason(
    halves, other, refused
):
    before = examples(summary_of(halves[0]))
    after = dataclasses.replace(examples(summary_of(255 - halves[0])), **other)
    found = list(drift_checks(after, before, BOUNDS))
    assert [check.name for check in found] == ["data.shape", "data.drift"]
    assert [check.name for check in found if not check.passed] == [refused]


@pytest.mark.parametrize("now", ["", "crop"])
def test_where_the_served_model_resizes_the_settings_give_the_shape(halves, now):
    before = examples(summary_of(halves[0]))
    after = dataclasses.replace(before, image_shape=(32, 24, 3), resize=now)
    shape, *_ = drift_checks(after, before, BOUNDS)
    assert not shape.passed
    assert shape.sentence.endswith(
        "as in the last release; set data.image_size=28x28 and data.channels=1, or release to "
        "another --serving-dir"
    )
