import dataclasses

import numpy as np
import pytest

from components.data_gate.bounds import DataGateConfig
from components.data_gate.format_checks import format_checks
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary
from components.example_gen.stored_sizes import size_tells, sizes_of
from components.example_gen.totals import GROUPS
from components.gate.check import NOT_JUDGED, Check

SIZES = ((20, 30), (100, 100), (400, 300))


def split(rows: int = 100, grey: int = 0, sizes=SIZES) -> SplitSummary:
    return SplitSummary(rows, (rows // 2, rows - rows // 2), "d" * 64, 0.5, sizes, grey)


def summary(**changes) -> ExamplesSummary:
    splits = {"train": split(), "eval": split(), "test": split()}
    made = ExamplesSummary(
        name="photos",
        fingerprint="f" * 64,
        image_shape=(64, 64, 3),
        class_names=("cat", "dog"),
        splits={**splits, **changes.pop("splits", {})},
        overlap=Overlap(0, ()),
        resize="pad",
        size_tells=(0.1, 0.3),
    )
    return dataclasses.replace(made, **changes)


def checks_of(one: ExamplesSummary, released: ExamplesSummary | None = None) -> dict[str, Check]:
    return {check.name: check for check in format_checks(one, released, DataGateConfig())}


def test_usual_images_pass_and_the_sentences_say_what_was_found() -> None:
    checks = checks_of(summary())
    assert all(check.passed for check in checks.values())
    assert checks["data.sizes"].sentence == (
        "images are 20x30 to 400x300 pixels, and the median of train is 100x100: 4.1 times larger "
        "or smaller along a side, at most 16 is allowed"
    )
    assert checks["data.grey"].sentence.startswith("train: 0 of 100 images are grey among coloured")
    assert "tell class dog from the others" in checks["data.size_leak"].sentence


def test_a_set_of_one_shape_has_no_such_checks() -> None:
    assert checks_of(summary(resize="")) == {}
    assert set(checks_of(summary(image_shape=(64, 64, 1)))) == {"data.sizes", "data.size_leak"}


@pytest.mark.parametrize("sizes", [((5, 5), *SIZES[1:]), (*SIZES[:2], (3000, 2000))])
@pytest.mark.parametrize("name", ["train", "eval", "test"])
def test_an_image_of_an_unheard_of_size_is_refused(name: str, sizes) -> None:
    check = checks_of(summary(splits={name: split(sizes=sizes)}))["data.sizes"]
    assert not check.passed
    assert check.actual > 16
    assert "remove the images of unusual sizes, or set data_gate.max_size_factor" in check.sentence


def test_sizes_are_held_to_those_of_the_last_release() -> None:
    before = summary(splits={"train": split(sizes=((4, 4), (5, 5), (6, 6)))})
    check = checks_of(summary(), before)["data.sizes"]
    assert not check.passed
    assert "the median of the last release is 5x5: 69.3 times larger" in check.sentence
    fixed = summary(splits=dict.fromkeys(("train", "eval", "test"), split(sizes=None)), resize="")
    assert "the median of train is 100x100" in checks_of(summary(), fixed)["data.sizes"].sentence


def test_grey_images_among_coloured_ones_are_refused() -> None:
    check = checks_of(summary(splits={"eval": split(rows=50, grey=6)}))["data.grey"]
    assert not check.passed
    assert check.sentence.startswith("eval: 6 of 50 images are grey among coloured ones (12.00 %)")


def test_a_split_that_is_grey_among_coloured_ones_is_refused() -> None:
    check = checks_of(summary(splits={"eval": split(grey=100)}))["data.grey"]
    assert (check.passed, check.actual) == (False, 1.0)


def test_what_is_found_at_a_bound_passes() -> None:
    sizes = ((100, 100), (100, 100), (1600, 1600))
    met = summary(splits={"train": split(grey=10, sizes=sizes)}, size_tells=(0.5, 0.5))
    checks = checks_of(met)
    assert [check.actual for check in checks.values()] == [16, 0.1, 0.5]
    assert all(check.passed for check in checks.values())


def test_a_set_whose_images_are_all_grey_mixes_nothing() -> None:
    check = checks_of(summary(splits=dict.fromkeys(("train", "eval", "test"), split(grey=100))))
    assert check["data.grey"].result == NOT_JUDGED
    assert "all images are grey; data.channels=1" in check["data.grey"].sentence


def test_a_class_that_its_size_gives_away_is_refused() -> None:
    check = checks_of(summary(size_tells=(0.2, 0.97)))["data.size_leak"]
    assert (check.passed, check.actual) == (False, 0.97)
    assert "tell class dog from the others" in check.sentence
    assert "a network may learn the source of an image instead of its class" in check.sentence


# --- how well sizes tell classes -----------------------------------------------------------------


def facts(labels: np.ndarray, sides: np.ndarray, grey: np.ndarray | bool = False) -> np.ndarray:
    made = np.ones(len(labels), GROUPS)  # each of one image
    made["label"], made["height"], made["width"], made["grey"] = labels, sides, 2 * sides, grey
    return made


def random_facts(rows: int, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return facts(rng.integers(0, classes, rows), rng.integers(20, 200, rows))


@pytest.mark.parametrize(("rows", "classes"), [(400, 2), (2000, 10), (400, 100)])
def test_random_sizes_tell_no_class(rows: int, classes: int) -> None:
    for seed in range(5):
        pair = random_facts(rows, classes, seed), random_facts(rows // 4, classes, seed + 50)
        assert max(size_tells(*pair, classes)) < 0.3


def test_one_class_in_another_resolution_is_told() -> None:
    splits = [random_facts(rows, 10, seed) for seed, rows in enumerate((2000, 500))]
    for split_facts in splits:
        split_facts["height"][split_facts["label"] == 3] += 400
    tells = size_tells(*splits, 10)
    assert tells[3] > 0.8
    assert max(value for label, value in enumerate(tells) if label != 3) < 0.3


def test_one_class_in_grey_is_told() -> None:
    splits = [random_facts(rows, 4, seed) for seed, rows in enumerate((800, 200))]
    for split_facts in splits:
        split_facts["grey"] = split_facts["label"] == 1
    assert size_tells(*splits, 4)[1] > 0.7


def test_sizes_are_ordered_by_pixels_and_then_by_height() -> None:
    made = np.zeros(4, GROUPS)
    made["height"], made["width"] = [10, 30, 20, 40], [60, 20, 30, 50]
    assert sizes_of(made) == ((10, 60), (30, 20), (40, 50))


def test_the_median_size_counts_each_image_of_a_group() -> None:
    made = np.zeros(3, GROUPS)
    made["height"] = made["width"] = [10, 20, 30]
    assert sizes_of(made, np.array([3, 1, 1]))[1] == (10, 10)  # 10 10 [10] 20 30
    assert sizes_of(made, np.array([2, 1, 1]))[1] == (20, 20)  # 10 10 [20] 30


def test_how_well_sizes_tell_a_class_is_youdens_j_less_three_standard_errors() -> None:
    labels, sides = np.array([0, 0, 1, 1, 0]), np.array([20, 80, 20, 80, 320])
    learned, judged = facts(labels, sides), facts(labels, sides)
    learned["images"] = [90, 10, 1, 9, 0]  # 80 is taken for the class 1, though 0 has more of them
    judged["images"] = [80, 15, 2, 8, 5]  # 320 was not learned, and is taken for none
    expected = []
    for (right, of_class), (wrong, of_others) in (((80, 100), (2, 10)), ((8, 10), (15, 100))):
        hit, miss = (right + 1) / (of_class + 2), (wrong + 1) / (of_others + 2)
        variance = hit * (1 - hit) / (of_class + 2) + miss * (1 - miss) / (of_others + 2)
        expected.append(hit - miss - 3 * variance**0.5)
    assert size_tells(learned, judged, 2) == pytest.approx(expected, abs=1e-4)
