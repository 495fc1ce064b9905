import dataclasses

import numpy as np
import pytest
import scipy.stats

from components.data_gate.block_means import block_means
from components.data_gate.label_noise import LabelNoise, Noise, estimate, noise_checks
from components.data_gate.quick_classifier import MAX_SIDE, leave_one_out_scores
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset

pytestmark = pytest.mark.once  # test_image_checks.py has wrong labels on both

CLASSES = tuple("0123456789")
BOUND = 0.005  # of the sample


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the sample's training split."""
    return read_arrays(open_dataset("mnist_sample", data_dir=None), "train")


def noise_of(images: np.ndarray, labels: np.ndarray, side: int = MAX_SIDE) -> LabelNoise:
    classes = int(labels.max()) + 1
    return estimate(leave_one_out_scores(block_means(images, side), labels, classes), labels)


def shuffle(labels: np.ndarray, share: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    shuffled = labels.copy()
    shuffled[rows] = rng.permutation(labels[rows])
    return shuffled


def failed(noise: LabelNoise, bound: float = BOUND) -> list[str]:
    return [check.name for check in noise_checks(noise, CLASSES, bound) if not check.passed]


def test_real_labels_pass(digits):
    noise = noise_of(*digits)

    assert noise.overall.is_judged
    assert noise.overall.share < 0.001
    assert failed(noise) == []


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
def test_shuffled_labels_are_refused_and_their_share_is_estimated(digits, share):
    images, labels = digits
    shuffled = shuffle(labels, share)

    noise = noise_of(images, shuffled)

    # Some labels are shuffled to themselves.
    assert noise.overall.share == pytest.approx(np.mean(shuffled != labels), abs=0.05)
    assert "data.label_noise" in failed(noise)


def test_a_swapped_pair_of_classes_is_refused_by_name(digits):
    images, labels = digits
    swapped = labels.copy()
    for label, other in ((4, 9), (9, 4)):
        rows = np.flatnonzero(labels == label)
        swapped[np.random.default_rng(label).choice(rows, len(rows) // 10, replace=False)] = other

    _, of_class = noise_checks(noise_of(images, swapped), CLASSES, BOUND)

    assert not of_class.passed
    assert of_class.actual == pytest.approx(0.1, abs=0.05)
    assert ("labels 4 look wrong, most often like 9" in of_class.sentence) or (
        "labels 9 look wrong, most often like 4" in of_class.sentence
    )
    assert "set data_gate.max_label_noise" in of_class.sentence


def test_a_higher_bound_lets_the_same_labels_pass(digits):
    images, labels = digits
    noise = noise_of(images, shuffle(labels, 0.1))

    assert failed(noise, bound=0.3) == []


@pytest.mark.parametrize("side", [2, 3])
def test_images_that_are_hard_to_tell_apart_are_not_called_wrong(digits, side):
    noise = noise_of(*digits, side=side)

    overall, of_class = noise_checks(noise, CLASSES, BOUND)

    assert (overall.passed, overall.actual) == (True, None)
    assert overall.sentence.startswith("train and eval: label noise could not be judged: a quick ")
    assert (of_class.passed, of_class.actual) == (True, None)


def test_labels_that_no_image_explains_are_not_judged(digits):
    images, labels = digits

    noise = noise_of(images, np.random.default_rng(0).permutation(labels))

    assert not noise.overall.is_judged
    assert failed(noise) == []


@pytest.mark.parametrize("cats", [80, 100])
def test_a_classifier_that_names_the_largest_class_alone_has_no_skill(cats):
    scores = np.tile([0.9, 0.1], (100, 1))
    noise = estimate(scores, (np.arange(100) >= cats).astype(np.int64))

    assert noise.accuracy == cats / 100
    assert not noise.overall.is_judged
    assert not any(each.is_judged for each in noise.by_class)
    assert [check.sentence for check in noise_checks(noise, ("cat", "dog"), BOUND)] == [
        f"train and eval: label noise could not be judged: a quick classifier predicts {cats}.0 % "
        "of 100 labels, too few to tell wrong labels from hard images",
        "train and eval: label noise of single classes could not be judged",
    ]


def test_the_classifier_need_not_predict_the_labels_that_are_wrong():
    labels = np.repeat(np.arange(4), 100)
    looks = labels.copy()
    looks[:30] = 1  # of label 0
    noise = estimate(np.where(np.eye(4)[looks] == 1, 0.875, 0.0), labels)

    assert noise.accuracy == 370 / 400
    assert noise.overall.share == pytest.approx(30 / 400)
    # It predicts 0.7 of label 0, and 0.7 of the labels that are right are 0.6475. Of all labels it
    # predicts (0.925 - 0.25) / 0.75 = 0.9 beyond chance, and 0.9 of those are 0.8325.
    assert noise.by_class[0] == Noise(0.3, 0.3, rows=100, is_judged=True)
    assert noise.by_class[1:] == (Noise(0.0, 0.0, rows=100, is_judged=True),) * 3
    assert noise.looks_like[0] == 1


def test_a_class_that_the_classifier_does_not_know_is_not_judged_and_the_others_are():
    labels = np.repeat([0, 1, 2], [100, 100, 10])
    named = np.minimum(labels, 1)  # each image of the third class looks like the second one
    noise = estimate(np.eye(3)[named] * 0.8 + 0.1, labels)

    assert noise.overall.is_judged
    assert [each.is_judged for each in noise.by_class] == [True, True, False]
    assert [each.rows for each in noise.by_class] == [100, 100, 10]
    assert noise.looks_like[2] == 1


@pytest.mark.parametrize("wrong", [0.05, 0.1, 0.2])
def test_as_many_wrong_labels_as_allowed_are_refused_no_more_often_than_alpha(wrong):
    """Of a classifier that confuses many images, where the strict share has its own chance."""
    rows, others, bound = 60, 60, 0.03  # the others reach the lenient thresholds alone
    of_others = (2 * wrong - bound) * (rows + others) / others - wrong * rows / others
    found = scipy.stats.binom.pmf(np.arange(rows + 1), rows, wrong)
    of_lenient = scipy.stats.binom.pmf(np.arange(others + 1), others, of_others)

    refused = 0.0
    for strict in range(rows + 1):
        for more in range(others + 1):
            lenient = (strict + more) / (rows + others)
            noise = Noise(lenient, strict / rows, rows, is_judged=True, is_clear=False)
            if noise.exceeds(bound):
                refused += found[strict] * of_lenient[more]

    assert 0.005 < refused <= 0.05


def test_images_that_are_all_alike_are_not_judged():
    images = np.full((24, 6, 5, 1), 64, np.uint8)

    assert failed(noise_of(images, np.arange(24) % 3)) == []


def test_a_class_without_an_example_is_left_out(digits):
    images, labels = digits
    few = labels != 3

    noise = noise_of(images[few], labels[few])

    assert noise.by_class[3] == Noise(0.0, 0.0, 0, is_judged=False)
    assert failed(noise) == []


@pytest.mark.parametrize("few", [1, 2, 4, 8])
def test_a_class_of_few_examples_makes_no_other_label_look_wrong(digits, few):
    images, labels = digits
    rows = np.r_[np.flatnonzero(labels < 6), np.flatnonzero(labels == 9)[:few]]

    noise = noise_of(images[rows], np.minimum(labels[rows], 6))

    assert noise.overall.is_judged
    assert noise.overall.share < 0.005
    assert not noise.by_class[6].is_judged
    assert failed(noise, bound=0.03) == []


def test_a_few_wrong_labels_of_a_few_images_prove_nothing(digits):
    images, labels = digits
    few = slice(0, None, 20)
    changed = labels[few].copy()
    changed[:2] = (changed[:2] + 1) % 10  # 1 % of 200

    assert failed(noise_of(images[few], changed)) == []


@pytest.mark.parametrize(
    ("strict", "exceeded"),
    # Of 1,000 at most 10 may be: 16 or more are so many in 4.8 % of cases, 15 in 8.2 %.
    [(0.016, True), (0.015, False)],
)
def test_the_bound_is_exceeded_where_chance_does_not_explain_it(strict, exceeded):
    noise = Noise(lenient=strict, strict=strict, rows=1000, is_judged=True)

    assert noise.exceeds(0.01) is exceeded
    assert not noise.exceeds(0.01, tests=10)
    assert not dataclasses.replace(noise, is_judged=False).exceeds(0.01)


def test_a_share_beyond_the_bound_that_chance_explains_is_said_so():
    noise = Noise(lenient=0.015, strict=0.015, rows=1000, is_judged=True)
    overall, _ = noise_checks(LabelNoise(1000, 0.9, noise, (noise,), (0,)), ("cat",), 0.01)

    assert overall.passed
    assert overall.sentence.endswith("labels look wrong, more than 1.00 %, which chance explains")


@pytest.mark.parametrize(
    ("bound", "limit"),
    # 15 of 1,000 are as many as chance makes of 1 % in 8.2 % of cases.
    [(0.02, "at most 2.00 % is allowed"), (0.01, "more than 1.00 %, which chance explains")],
)
def test_a_class_that_passes_is_named_with_the_bound(bound, limit):
    cat, dog = (Noise(share, share, 1000, is_judged=True) for share in (0.015, 0.005))
    noise = LabelNoise(2000, 0.9, cat, by_class=(cat, dog), looks_like=(1, 0))
    _, of_class = noise_checks(noise, ("cat", "dog"), bound)

    assert (of_class.passed, of_class.actual, of_class.required) == (True, 0.015, bound)
    assert of_class.sentence == (
        "train and eval: about 1.50 % of the labels cat look wrong, the most of any class; " + limit
    )


def test_the_class_that_is_refused_is_named_and_not_one_that_looks_worse_by_chance():
    few, many = (
        Noise(share, share, rows, is_judged=True) for share, rows in ((0.2, 10), (0.15, 1000))
    )
    noise = LabelNoise(1010, 0.9, many, by_class=(few, many), looks_like=(1, 0))
    # 2 of 10 and 150 of 1,000 are found, of 0.1 each that may be.
    _, of_class = noise_checks(noise, ("cat", "dog"), 0.1)

    assert (of_class.passed, of_class.actual) == (False, 0.15)
    assert (
        "of the labels dog look wrong, most often like cat, expected at most 10.00 %; correct in "
        "the source"
    ) in of_class.sentence


@pytest.mark.parametrize(("judged", "passes"), [(True, True), (False, False)])
def test_each_class_that_is_judged_is_a_test(judged, passes):
    # 16 of 1,000 are so many where 10 may be in 4.8 % of cases: that refuses one class, not one of
    # two.
    cat, dog = Noise(0.016, 0.016, 1000, True), Noise(0.0, 0.0, 1000, judged)
    noise = LabelNoise(2000, 0.9, cat, by_class=(cat, dog), looks_like=(1, 0))
    _, of_class = noise_checks(noise, ("cat", "dog"), 0.01)

    assert of_class.passed is passes


def test_where_no_label_looks_wrong_no_class_is_named():
    none = Noise(0.0, 0.0, 1000, is_judged=True)
    _, of_class = noise_checks(LabelNoise(1000, 0.9, none, (none,), (0,)), ("cat",), 0.01)

    assert of_class.sentence == "train and eval: no class has labels that look wrong"


def test_what_strict_thresholds_make_go_away_counts_as_confusion():
    noise = Noise(lenient=0.5, strict=0.4, rows=1000, is_judged=True)

    assert noise.share == pytest.approx(0.3)  # 0.4 - (0.5 - 0.4)
    # 400 of 1,000 are found, 0.29 + 0.1 are allowed.
    assert not noise.exceeds(0.29)
    assert noise.exceeds(0.2)


def test_scores_are_those_of_a_fit_without_the_example(digits):
    images, labels = digits
    few = slice(0, None, 80)  # 50 images
    inputs, known = block_means(images[few], 4), labels[few]

    scores = leave_one_out_scores(inputs, known, 10)

    # An example's own label does not reach its own scores, but for the choice of the ridge.
    changed = known.copy()
    changed[7] = (changed[7] + 1) % 10
    other = leave_one_out_scores(inputs, changed, 10)
    np.testing.assert_allclose(scores[7], other[7], atol=0.02)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-3)
