"""Checks of the predictions: over all examples, by class and slice, against the baseline."""

import dataclasses
import math

import pytest

from components.gate import statistics
from components.gate.check import passed
from components.gate.evidence import Tally
from tests.components.gate.cases import (
    ANYTHING,
    FIRST,
    GOOD,
    POLICY,
    checks_of,
    compared_with,
    evidence,
    failed,
    find,
    with_slices,
)

# --- the floor ------------------------------------------------------------------------------------


def test_the_floor_is_held_by_the_bound_and_not_by_the_accuracy() -> None:
    # 1,910 of 2,000 is 0.9550; so good at least with 1 - 0.05 / 11 confidence: 0.9415.
    checks = checks_of(evidence(cat=955, dog=955))
    assert failed(checks) == ["floor"]
    floor = find(checks, "floor")
    assert floor.actual == statistics.clopper_pearson_lower(1910, 2000, FIRST)
    assert floor.required == 0.95
    assert floor.sentence == (
        "accuracy 0.9550; its 99.55 % lower bound 0.9415 misses the floor 0.9500: train longer, "
        "take more test images, or set gate.floor"
    )


def test_a_floor_that_no_model_reaches_on_so_few_images_asks_for_more_images() -> None:
    few = find(checks_of(evidence(all=Tally(rows=100, correct=100))), "floor")
    assert few.sentence == (
        "accuracy 1.0000; its 99.55 % lower bound 0.9475 misses the floor 0.9500: no model reaches "
        "it on 100 test images; take 106 at least, or set gate.floor"
    )
    enough = find(checks_of(evidence(all=Tally(rows=106, correct=100))), "floor")
    assert enough.sentence.endswith("train longer, look at the data, or set gate.floor")


def test_a_bound_that_reaches_the_floor_says_so() -> None:
    assert find(checks_of(GOOD), "floor").sentence == (
        "accuracy 0.9750; its 99.55 % lower bound 0.9644 reaches the floor 0.9500"
    )


def test_numbers_that_differ_are_shown_with_the_digits_that_tell_them_apart() -> None:
    mnist = dataclasses.replace(POLICY, floor=0.99)
    counted = evidence(all=Tally(rows=10_000, correct=9_926))
    assert find(checks_of(counted, mnist, decision=2), "floor").sentence.startswith(
        "accuracy 0.9926; its 99.62 % lower bound 0.989996 misses the floor 0.990000: "
    )
    policy = dataclasses.replace(POLICY, max_drop=0.0032)
    sentence = find(checks_of(compared_with(53, 53), policy, decision=10), "max_drop").sentence
    assert "it drops by at most 0.00324; a drop of at most 0.00320 is allowed: " in sentence
    close = dataclasses.replace(GOOD, cross_entropy=0.300012)
    sentence = find(checks_of(close), "cross_entropy").sentence
    assert "cross-entropy 0.30001; at most 0.30000 is allowed: " in sentence
    many = Tally(rows=10_000_000, correct=8_999_500)
    sentence = find(
        checks_of(evidence(all=many), dataclasses.replace(ANYTHING, class_floor=0.9)), "class.all"
    ).sentence
    assert "accuracy 0.89995, not shown to be below the class floor 0.90000" in sentence


def test_no_confidence_is_called_100_percent() -> None:
    sentences = [
        find(checks_of(compared_with(2, 1), decision=100), name).sentence
        for name in ("floor", "max_drop")
    ]
    assert "its 99.9958 % lower bound" in sentences[0]
    assert "with 99.9958 % confidence" in sentences[1]


def test_a_bound_on_the_floor_holds_and_a_float_below_it_does_not() -> None:
    bound = statistics.clopper_pearson_lower(1950, 2000, FIRST)
    for floor, expected in ((bound, []), (math.nextafter(bound, 1.0), ["floor"])):
        policy = dataclasses.replace(POLICY, floor=floor)
        assert failed(checks_of(GOOD, policy)) == expected


def test_a_model_that_held_the_floor_fails_it_when_the_test_set_is_worn_out() -> None:
    policy = dataclasses.replace(POLICY, floor=0.964)
    assert passed(checks_of(GOOD, policy, decision=1))
    assert failed(checks_of(GOOD, policy, decision=10)) == ["floor"]


# --- cross-entropy --------------------------------------------------------------------------------


def test_probabilities_worse_than_promised_are_refused_although_the_predictions_are_right() -> None:
    checks = checks_of(dataclasses.replace(GOOD, cross_entropy=0.31))
    assert failed(checks) == ["cross_entropy"]
    sentence = find(checks, "cross_entropy").sentence
    assert "cross-entropy 0.3100; at most 0.3000 is allowed: " in sentence
    assert "gate.max_cross_entropy" in sentence


@pytest.mark.parametrize(
    ("cross_entropy", "expected"),
    # The bound itself holds, and so does what six decimals may add to it.
    [(0.3, []), (0.3000005, []), (0.300002, ["cross_entropy"]), (math.nan, ["cross_entropy"])],
)
def test_the_bound_of_the_cross_entropy_holds(cross_entropy: float, expected: list[str]) -> None:
    assert failed(checks_of(dataclasses.replace(GOOD, cross_entropy=cross_entropy))) == expected


# --- against the baseline -------------------------------------------------------------------------


def test_a_model_that_is_shown_to_be_worse_is_refused() -> None:
    # 26 to 14: p = 0.0403; the drop is 0.0012, and below 0.0023.
    checks = checks_of(compared_with(26, 14))
    assert failed(checks) == ["not_worse"]
    not_worse = find(checks, "not_worse")
    assert not_worse.actual == pytest.approx(0.0403, abs=5e-5)
    assert not_worse.sentence == (
        "14 gained and 26 lost of 10,000 test images against the baseline: shown to be "
        "worse (p = 0.04, required above 0.05): keep the baseline"
    )


def test_a_drop_that_may_be_chance_passes() -> None:
    checks = checks_of(compared_with(25, 15))  # p = 0.077
    assert passed(checks)
    assert "not shown to be worse (p = 0.077)" in find(checks, "not_worse").sentence


def test_a_drop_that_cannot_be_excluded_is_refused_although_none_is_shown() -> None:
    # 20 to 15: the drop is 0.0005, and may be as large as 0.0022.
    policy = dataclasses.replace(POLICY, max_drop=0.001)
    checks = checks_of(compared_with(20, 15), policy)
    assert failed(checks) == ["max_drop"]
    assert find(checks, "max_drop").sentence == (
        "accuracy changes by -0.0005; with 99.55 % confidence it drops by at most 0.0022; a drop "
        "of at most 0.0010 is allowed: keep the baseline, evaluate on more test images, or "
        "set gate.max_drop"
    )


def test_a_gain_that_is_sure_says_how_large_it_is_at_least() -> None:
    sentence = find(checks_of(compared_with(10, 60)), "max_drop").sentence
    assert sentence.startswith(
        "accuracy changes by +0.0050; with 99.55 % confidence it rises by at least 0.0030; a drop"
    )


@pytest.mark.parametrize(("gained", "expected"), [(28, ["improved"]), (35, [])])
def test_a_model_that_must_improve_must_be_shown_to(gained: int, expected: list[str]) -> None:
    # 15 lost: 28 gained have p = 0.033, 35 gained have p = 0.0033; the first decision has 0.0045.
    policy = dataclasses.replace(POLICY, must_improve=True)
    checks = checks_of(compared_with(15, gained), policy)
    assert failed(checks) == expected
    assert "not_worse" not in [check.name for check in checks]
    if expected:
        assert "gate.must_improve is set" in find(checks, "improved").sentence


def test_equal_models_are_not_an_improvement() -> None:
    policy = dataclasses.replace(POLICY, must_improve=True)
    assert failed(checks_of(compared_with(0, 0), policy)) == ["improved"]
    assert passed(checks_of(compared_with(0, 0)))


def test_a_p_value_of_exactly_alpha_refuses_and_exactly_the_allowed_drop_does_not() -> None:
    # 1 / 2^4 is the chance to lose four of four, and to err four times where half may be wrong.
    policy = dataclasses.replace(ANYTHING, class_floor=0.5, confidence=1.0 - 1 / 16)
    checks = checks_of(evidence(compared=True, all=Tally(rows=4, correct=0, lost=4)), policy)
    assert failed(checks) == ["not_worse", "class.all", "class_change.all"]
    assert find(checks, "not_worse").actual == policy.alpha == 1 / 16
    assert find(checks, "max_drop").actual == policy.max_drop == 1.0


# --- classes --------------------------------------------------------------------------------------


def test_one_bad_class_is_refused_although_all_together_is_good() -> None:
    # 130 errors where 100 of 1,000 are allowed: p = 0.0013, times 4.
    checks = checks_of(evidence(ant=995, bee=995, cat=870, dog=995))
    assert failed(checks) == ["class.cat"]
    sentence = find(checks, "class.cat").sentence
    assert sentence.startswith(
        "class cat: accuracy 0.8700, shown to be below the class floor 0.9000 (p = 0.005"
    )
    assert "gate.class_floor" in sentence


def test_a_class_just_below_its_floor_may_be_there_by_chance() -> None:
    assert passed(checks_of(evidence(ant=995, bee=995, cat=890, dog=995)))


def test_the_more_classes_the_more_it_takes_to_refuse_one() -> None:
    # 118 errors of 1,000: p = 0.034, alone too many, among four no surprise.
    assert failed(checks_of(evidence(cat=882), ANYTHING_BUT_CLASSES)) == ["class.cat"]
    four = evidence(ant=995, bee=995, cat=882, dog=995)
    assert passed(checks_of(four, ANYTHING_BUT_CLASSES))


def test_what_is_not_judged_makes_no_test_less_strict() -> None:
    # As in the tests above, p = 0.034 and p = 0.0403, which three tests would take for chance.
    slices = Tally(rows=0, correct=0), Tally(rows=99, correct=99)
    few = with_slices(evidence(cat=882), *slices)
    assert failed(checks_of(few, ANYTHING_BUT_CLASSES)) == ["class.cat"]
    worse = evidence(compared=True, cat=Tally(rows=1000, correct=960, lost=26, gained=14))
    checks = checks_of(with_slices(worse, *slices), ANYTHING)
    assert failed(checks) == ["not_worse", "class_change.cat"]


ANYTHING_BUT_CLASSES = dataclasses.replace(ANYTHING, class_floor=0.9)


def test_a_model_that_trades_one_class_for_another_is_refused() -> None:
    traded = evidence(
        compared=True,
        cat=Tally(rows=1000, correct=975, lost=20, gained=3),
        dog=Tally(rows=1000, correct=990, lost=3, gained=20),
    )
    checks = checks_of(traded)
    assert failed(checks) == ["class_change.cat"]
    assert find(checks, "class_change.cat").actual == pytest.approx(-0.017)
    assert find(checks, "class_change.cat").sentence == (
        "class cat: 3 gained and 20 lost of 1,000 test images against the baseline, shown to "
        "be worse (p = 0.00049, required above 0.05): keep the baseline"
    )


# --- slices ---------------------------------------------------------------------------------------


def test_a_bad_slice_is_refused_although_every_class_is_good() -> None:
    sliced = with_slices(GOOD, Tally(rows=400, correct=330), Tally(rows=1600, correct=1590))
    checks = checks_of(sliced)
    assert failed(checks) == ["slice.mean_intensity<0.1"]
    assert "look at the slice's examples" in find(checks, "slice.mean_intensity<0.1").sentence


def test_a_slice_that_was_traded_away_is_refused() -> None:
    tally = Tally(rows=1000, correct=970, lost=12, gained=12)
    sliced = with_slices(
        evidence(compared=True, cat=tally, dog=tally),
        Tally(rows=800, correct=760, lost=20, gained=4),
        Tally(rows=1200, correct=1180, lost=4, gained=20),
    )
    assert failed(checks_of(sliced)) == ["slice_change.mean_intensity<0.1"]


@pytest.mark.parametrize(("rows", "judged"), [(99, False), (100, True)])
def test_a_small_slice_is_not_judged(rows: int, judged: bool) -> None:
    sliced = with_slices(GOOD, Tally(rows=rows, correct=0), Tally(rows=2000 - rows, correct=1900))
    checks = checks_of(sliced)
    assert failed(checks) == (["slice.mean_intensity<0.1"] if judged else [])
    if not judged:
        dark = find(checks, "slice.mean_intensity<0.1")
        assert dark.sentence == (
            "mean_intensity<0.1 has 99 test images, too few to be judged: gate.min_slice_rows is "
            "100"
        )


def test_a_class_of_one_image_is_judged() -> None:
    # A model that errs once in 100 images is wrong on it with p = 0.01, times 2.
    checks = checks_of(
        evidence(cat=980, dog=Tally(rows=1, correct=0)),
        dataclasses.replace(ANYTHING, class_floor=0.99),
    )
    assert "class.dog" in failed(checks)


def test_no_key_is_named_for_a_class_without_images() -> None:
    checks = checks_of(evidence(cat=980, dog=Tally(rows=0, correct=0)))
    assert find(checks, "class.dog").sentence == "class dog has no test images, so it is not judged"
