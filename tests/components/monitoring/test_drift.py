"""Drift against SciPy's tests, and on drawn predictions."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from components.gate.evidence import Tally
from components.monitoring.counts import Summary, summarize
from components.monitoring.drift import Drift, compare

RNG = np.random.default_rng(0)
NAMES = [f"digit {at}" for at in range(10)]


def drawn(rng: np.random.Generator, rows: int, *, sharpness: float = 8.0) -> np.ndarray:
    """Probabilities [rows, 10] of a classifier that is mostly sure."""
    logits = rng.normal(size=(rows, 10))
    logits[np.arange(rows), rng.integers(0, 10, rows)] += sharpness
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def summary(rng: np.random.Generator, rows: int, **settings: float) -> Summary:
    intensities = rng.beta(3, 17, rows)
    return summarize(drawn(rng, rows, **settings), intensities=intensities, sizes=["28x28"] * rows)


def names_of(drift: object) -> list[str]:
    return [test.name for test in drift.tests if test.drifted]


RELEASED = summary(RNG, 5_000)


def check(observed: Summary, **settings: object) -> object:
    given = {"level": 0.05, "tolerance": 0.02, "class_names": NAMES, **settings}
    return compare(RELEASED, observed, **given)


def test_the_p_value_of_the_classes_is_that_of_scipy() -> None:
    observed = summary(RNG, 700)
    drift = compare(
        RELEASED, summarize_classes(observed), level=0.05, tolerance=0.0, class_names=NAMES
    )
    table = np.array([RELEASED.classes, observed.classes])
    expected = stats.chi2_contingency(table).pvalue
    assert min(1.0, 2 * expected) >= drift.tests[0].p_value >= expected - 1e-12


def summarize_classes(observed: Summary) -> Summary:
    return Summary(observed.rows, observed.classes, observed.confidence)


def of_classes(*counts: int) -> Summary:
    """Predictions that are alike but for their classes."""
    rows = sum(counts)
    return Summary(rows, counts, (rows, *[0] * (len(RELEASED.confidence) - 1)))


def drift_of(released: tuple[int, ...], observed: tuple[int, ...]) -> Drift:
    """The drift from and to so many predictions of each class, without tolerance."""
    before, now = of_classes(*released), of_classes(*observed)
    return compare(before, now, level=0.05, tolerance=0.0, class_names=NAMES)


def test_two_classes_are_compared_by_pearsons_test() -> None:
    before, now = (5_000, 5_000), (98, 62)
    found = drift_of(before, now)
    expected = stats.chi2_contingency([before, now], correction=False).pvalue
    assert found.tests[0].p_value == pytest.approx(2 * expected)  # and the confidence
    assert found.tests[0].distance == pytest.approx(98 / 160 - 0.5)
    assert names_of(found) == ["classes"]


@pytest.mark.parametrize(
    ("released", "observed", "tests"),
    # Beside the confidence: the rare class alone, and it and the two that are frequent.
    [((9_995, 5), (199, 1), 2), ((4_998, 4_997, 5), (100, 99, 1), 4)],
)
def test_classes_that_hardly_an_image_is_expected_of_are_tested_exactly(
    released, observed, tests
) -> None:
    # About 0.1 images are expected: chi-square says p = 0.01 and 0.04 for the one that came.
    drift = drift_of(released, observed)
    rare = np.array([released, observed])[:, np.array(released) < 6].sum(axis=1)
    exact = stats.fisher_exact([rare, [sum(released), sum(observed)] - rare]).pvalue
    assert drift.tests[0].p_value == pytest.approx(tests * exact)
    assert exact > 0.02


def test_classes_that_few_images_are_expected_of_are_taken_together() -> None:
    # A tenth of all images are requests: 5 are expected of the second class, which is enough
    # (Cochran 1954), and 4.5 of each of the last two.
    drift = drift_of((8_890, 40, 35, 35), (970, 10, 10, 10))
    expected = stats.chi2_contingency([(8_890, 40, 70), (970, 10, 20)]).pvalue
    assert drift.tests[0].p_value == pytest.approx(2 * expected)  # and the confidence


def test_rare_classes_of_which_enough_images_are_expected_together_are_one_class() -> None:
    drift = drift_of((8_960, 20, 20), (990, 5, 5))  # 2.5 of each are expected
    expected = stats.chi2_contingency([(8_960, 40), (990, 10)], correction=False).pvalue
    assert drift.tests[0].p_value == pytest.approx(2 * expected)  # and the confidence


def test_where_one_class_alone_comes_the_classes_are_alike() -> None:
    before, now = of_classes(100, 0), of_classes(50, 0)
    now = dataclasses.replace(now, confidence=now.confidence[::-1])
    drift = compare(before, now, level=0.05, tolerance=0.0, class_names=NAMES)
    assert names_of(drift) == ["confidence"]
    assert drift.tests[0].p_value == 1.0


@pytest.mark.parametrize("classes", [(4_990, 5_000, 10), (9_990, 0, 10), (5_000, 5_000, 0)])
def test_a_class_that_was_rare_and_now_comes_always_is_found(classes) -> None:
    before, now = of_classes(*classes), of_classes(0, 0, 100)
    drift = compare(before, now, level=1e-9, tolerance=0.02, class_names=NAMES)
    assert names_of(drift) == ["classes"]
    assert drift.tests[0].distance == 1.0 - classes[2] / 10_000


@pytest.mark.parametrize("shares", [(0.9995, 0.0005), (0.49975, 0.49975, 0.0005)])
def test_a_rare_class_makes_no_drift_more_often_than_the_level(shares) -> None:
    rng, level, false = np.random.default_rng(0), 0.01, 0
    for _ in range(1_000):
        before, now = (
            of_classes(*rng.multinomial(rows, shares).tolist()) for rows in (10_000, 200)
        )
        drift = compare(before, now, level=level, tolerance=0.0, class_names=NAMES)
        false += drift.tests[0].drifted
    assert false <= 19  # 10 at the level, and three standard deviations


def test_no_p_value_of_the_confidence_is_below_that_of_scipy_on_the_values() -> None:
    before, now = drawn(RNG, 2_000).max(axis=1), drawn(RNG, 500, sharpness=7.5).max(axis=1)
    ours = [summarize(np.column_stack([values, 1 - values])) for values in (before, now)]
    drift = compare(*ours, level=0.05, tolerance=0.0, class_names=NAMES)
    assert drift.tests[1].p_value >= stats.ks_2samp(before, now, method="asymp").pvalue
    assert drift.tests[1].distance <= stats.ks_2samp(before, now).statistic + 1e-12


def test_requests_like_the_test_split_are_no_drift() -> None:
    false = sum(check(summary(RNG, 500)).found for _ in range(200))
    assert false <= 17  # 5 % of 200, and three standard deviations below chance's most


@pytest.mark.parametrize(
    ("observed", "name"),
    [
        (summary(RNG, 300, sharpness=4.0), "confidence"),
        (
            summarize(drawn(RNG, 300), intensities=RNG.beta(6, 14, 300), sizes=["28x28"] * 300),
            "intensity",
        ),
        (
            summarize(
                drawn(RNG, 300), intensities=RNG.beta(3, 17, 300), sizes=["28x28", "32x28"] * 150
            ),
            "size",
        ),
    ],
)
def test_what_has_changed_is_found(observed: Summary, name: str) -> None:
    assert names_of(check(observed)) == [name]
    assert check(observed).found


def test_a_class_that_comes_too_often_is_found() -> None:
    probabilities = drawn(RNG, 2_000)
    of_one = probabilities[probabilities.argmax(axis=1) == 3]
    observed = summarize(np.concatenate([probabilities[:400], of_one]))
    drift = check(observed)
    assert names_of(drift) == ["classes"]
    assert drift.tests[0].sentence.startswith("predicted class digit 3: share 0.")


def test_a_class_that_nobody_asked_for_is_no_error() -> None:
    assert "confidence" in names_of(check(of_classes(3, *[0] * 9)))


def test_a_difference_within_the_tolerance_is_no_drift() -> None:
    observed = summary(np.random.default_rng(1), 5_000, sharpness=7.8)
    sure = check(observed, tolerance=0.0, class_names=NAMES)
    assert names_of(sure) == ["confidence"]
    assert sure.tests[1].sentence.endswith(", at most the level 0.05")
    chance, distance = sure.tests[1].p_value, sure.tests[1].distance
    assert names_of(check(observed, tolerance=0.0, level=chance)) == ["confidence"]
    assert names_of(check(observed, tolerance=distance)) == ["confidence"]
    drift = check(observed, tolerance=distance + 0.001)
    assert not drift.found
    tolerated = ["within the tolerance" in test.sentence for test in drift.tests]
    assert tolerated == [False, True, False, False]


def test_sizes_are_compared_in_the_order_of_their_areas() -> None:
    released, observed = (
        summarize(drawn(RNG, 100), intensities=[0.1] * 100, sizes=sizes)
        for sizes in (["9x9", "20x20"] * 50, ["10x10"] * 100)
    )
    drift = compare(released, observed, level=0.05, tolerance=0.02, class_names=NAMES)
    assert (drift.tests[-1].name, drift.tests[-1].distance) == ("size", 0.5)


@pytest.mark.parametrize("with_images", ["neither", "released", "observed"])
def test_what_cannot_be_compared_is_said(with_images: str) -> None:
    released, observed = (
        RELEASED if with_images == side else summarize(drawn(RNG, 100))
        for side in ("released", "observed")
    )
    drift = compare(released, observed, level=0.05, tolerance=0.02, class_names=NAMES)
    assert drift.left_out == (
        "intensity and size: there are no images",
        "accuracy: there are no labels",
    )
    assert [test.name for test in drift.tests] == ["classes", "confidence"]


@pytest.mark.parametrize(("correct", "drifted"), [(97, False), (90, False), (70, True)])
def test_labels_hold_the_accuracy_to_the_floor(correct: int, drifted: bool) -> None:
    observed = summary(np.random.default_rng(3), 500)
    drift = check(observed, floor=0.9, labelled=Tally(100, correct))
    assert drift.tests[-1].name == "accuracy"
    assert drift.tests[-1].drifted is drifted
    expected = stats.binom.cdf(correct, 100, 0.9)
    assert drift.tests[-1].p_value >= expected - 1e-12
    assert drift.tests[-1].distance == pytest.approx(max(0.0, 0.9 - correct / 100))
    low, high = stats.binomtest(correct, 100).proportion_ci(method="exact")
    assert drift.tests[-1].sentence.startswith(
        f"accuracy {correct / 100:.4f} of 100 labelled requests (95 % interval {low:.4f} to "
        f"{high:.4f}), floor 0.9000"
    )
    assert drift.left_out == ()


def test_no_accuracy_below_the_floor_is_within_the_tolerance() -> None:
    observed = summary(np.random.default_rng(3), 500)
    drift = check(observed, floor=0.9, labelled=Tally(10_000, 8_910), tolerance=0.02)
    assert names_of(drift) == ["accuracy"]
