"""The release policy: what may ship, and what the refusal says."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gate import (
    TOLERANCE,
    Check,
    Evaluation,
    Policy,
    decide,
    passed,
    promised_cross_entropy,
)

POLICY = Policy(floor=0.95, class_floor=0.9, max_cross_entropy=0.3, max_drop=0.01)
ANYTHING = Policy(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0)


def evaluation(**correct: int) -> Evaluation:
    """So many right answers among 100 examples of each class."""
    rows = 100 * len(correct)
    return Evaluation(
        rows=rows,
        accuracy=sum(correct.values()) / rows,
        top_2_accuracy=1.0,
        cross_entropy=0.1,
        by_class={name: count / 100 for name, count in correct.items()},
        class_rows=dict.fromkeys(correct, 100),
    )


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def sentence_of(checks: tuple[Check, ...], name: str) -> str:
    (check,) = (check for check in checks if check.name == name)
    return check.sentence


def test_a_good_first_model_passes_every_check() -> None:
    checks = decide(evaluation(cat=97, dog=95), None, POLICY)
    names = ["accuracy", "class.cat", "class.dog", "cross_entropy", "baseline"]
    assert [check.name for check in checks] == names
    assert failed(checks) == []
    assert passed(checks)


def test_a_missed_floor_is_refused_with_both_numbers_and_a_remedy() -> None:
    checks = decide(evaluation(cat=97, dog=92), None, POLICY)  # (97 + 92) / 200 = 0.945
    assert failed(checks) == ["accuracy"]
    assert not passed(checks)
    assert checks[0] == Check(
        name="accuracy",
        passed=False,
        actual=0.945,
        required=0.95,
        sentence="accuracy is 0.9450, required is 0.9500 or more: train longer, look at the data, "
        "or set gate.floor",
    )


def test_one_bad_class_is_refused_although_all_together_is_good() -> None:
    checks = decide(evaluation(ant=99, bee=99, cat=89), None, POLICY)  # 287 / 300 = 0.957
    assert failed(checks) == ["class.cat"]
    sentence = sentence_of(checks, "class.cat")
    assert "accuracy of class cat is 0.8900, required is 0.9000 or more" in sentence
    assert "gate.class_floor" in sentence


def test_probabilities_worse_than_promised_are_refused_although_the_answers_are_right() -> None:
    unsure = dataclasses.replace(evaluation(cat=97, dog=97), cross_entropy=0.31)
    checks = decide(unsure, None, POLICY)
    assert failed(checks) == ["cross_entropy"]
    sentence = sentence_of(checks, "cross_entropy")
    assert "cross-entropy is 0.3100, required is 0.3000 or less" in sentence
    assert "gate.max_cross_entropy" in sentence


@pytest.mark.parametrize(
    ("floor", "num_classes", "expected"),
    [
        # 0.99 x -ln 0.99 + 0.01 x -ln(0.01 / 9) = 0.00995 + 0.06802
        (0.99, 10, 0.07797),
        # A fair coin: ln 2.
        (0.5, 2, math.log(2)),
        # Below chance is chance: ln 4.
        (0.0, 4, math.log(4)),
        (1.0, 10, 0.0),
    ],
)
def test_cross_entropy_that_a_floor_promises(floor, num_classes, expected) -> None:
    assert promised_cross_entropy(floor, num_classes) == pytest.approx(expected, abs=1e-5)


def test_a_value_on_its_bound_holds() -> None:
    # 190 / 200 = 0.95 overall, 0.9 for dog; 0.96 -> 0.95 is a drop of 0.01.
    checks = decide(evaluation(cat=100, dog=90), evaluation(cat=96, dog=96), POLICY)
    assert failed(checks) == []


def test_less_than_a_millionth_below_the_bound_is_rounding() -> None:
    good = evaluation(cat=97, dog=97)
    assert passed(decide(dataclasses.replace(good, accuracy=0.95 - 0.9 * TOLERANCE), None, POLICY))
    below = dataclasses.replace(good, accuracy=0.95 - 1.1 * TOLERANCE)
    assert failed(decide(below, None, POLICY)) == ["accuracy"]


def test_a_drop_within_the_bound_passes_and_says_what_was_compared() -> None:
    checks = decide(evaluation(cat=97, dog=97), evaluation(cat=98, dog=97), POLICY)
    assert failed(checks) == []
    assert (
        sentence_of(checks, "baseline")
        == "accuracy changes by -0.0050 against the served model (0.9750), -0.0100 or more"
    )


def test_a_drop_over_the_bound_is_refused_however_good_the_model_is() -> None:
    checks = decide(evaluation(cat=98, dog=97), evaluation(cat=100, dog=98), POLICY)
    assert failed(checks) == ["baseline"]  # 0.975 - 0.990 = -0.015
    assert checks[-1].actual == pytest.approx(-0.015)
    assert checks[-1].required == -0.01
    assert checks[-1].sentence == (
        "accuracy changes by -0.0150 against the served model (0.9900), required is -0.0100 or "
        "more: the served model stays"
    )


def test_a_first_model_has_nothing_to_be_compared_with() -> None:
    baseline = decide(evaluation(cat=97, dog=97), None, POLICY)[-1]
    assert (baseline.name, baseline.passed) == ("baseline", True)
    assert (baseline.actual, baseline.required) == (None, None)


@pytest.mark.parametrize("baseline", [None, evaluation(cat=97, dog=97)])
def test_nan_accuracy_is_refused(baseline: Evaluation | None) -> None:
    broken = dataclasses.replace(evaluation(cat=97, dog=97), accuracy=math.nan)
    expected = ["accuracy"] if baseline is None else ["accuracy", "baseline"]
    assert failed(decide(broken, baseline, ANYTHING)) == expected


def test_nan_accuracy_of_a_class_is_refused() -> None:
    good = evaluation(cat=97, dog=97)
    broken = dataclasses.replace(good, by_class={"cat": 0.97, "dog": math.nan})
    assert failed(decide(broken, None, ANYTHING)) == ["class.dog"]


def test_a_baseline_of_nan_accuracy_cannot_be_compared_with() -> None:
    good = evaluation(cat=97, dog=97)
    broken = dataclasses.replace(good, accuracy=math.nan)
    assert failed(decide(good, broken, ANYTHING)) == ["baseline"]


def test_no_checks_at_all_prove_nothing() -> None:
    assert not passed(())


@pytest.mark.parametrize("value", [-0.01, math.inf, math.nan])
def test_a_bound_of_the_cross_entropy_that_is_no_number_of_nats_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"gate\.max_cross_entropy is .*expected nats, 0 or more"):
        dataclasses.replace(POLICY, max_cross_entropy=value)


def test_nan_cross_entropy_is_refused() -> None:
    broken = dataclasses.replace(evaluation(cat=97, dog=97), cross_entropy=math.nan)
    assert failed(decide(broken, None, ANYTHING)) == ["cross_entropy"]


@pytest.mark.parametrize("value", [-0.01, 1.01, 99.0, math.nan])
@pytest.mark.parametrize("name", ["floor", "class_floor", "max_drop"])
def test_a_bound_that_is_no_fraction_is_an_error(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"gate\.{name} is .*expected a fraction from 0 to 1"):
        dataclasses.replace(POLICY, **{name: value})


def test_check_and_evaluation_survive_their_json_form() -> None:
    good = evaluation(cat=97, dog=97)
    assert Evaluation.from_dict(good.to_dict()) == good
    for check in decide(good, None, POLICY):
        assert Check.from_dict(check.to_dict()) == check


fractions = st.floats(0.0, 1.0)
policies = st.builds(
    Policy,
    floor=fractions,
    class_floor=fractions,
    max_cross_entropy=st.floats(0.0, 3.0),
    max_drop=fractions,
)
# Right answers and examples of each class: at least one is right, so that one more can be wrong.
counts = st.lists(
    st.integers(1, 50).flatmap(lambda rows: st.tuples(st.integers(1, rows), st.just(rows))),
    min_size=1,
    max_size=5,
)


def _counted(pairs: list[tuple[int, int]]) -> Evaluation:
    """Of a model that gives its answer the probability 0.9, and 0.1 to the right one if it errs."""
    rows = sum(rows for _, rows in pairs)
    correct = sum(correct for correct, _ in pairs)
    return Evaluation(
        rows=rows,
        accuracy=correct / rows,
        top_2_accuracy=1.0,
        cross_entropy=-(correct * math.log(0.9) + (rows - correct) * math.log(0.1)) / rows,
        by_class={str(label): correct / rows for label, (correct, rows) in enumerate(pairs)},
        class_rows={str(label): rows for label, (_, rows) in enumerate(pairs)},
    )


@given(pairs=counts, policy=policies, served=st.none() | fractions, data=st.data())
def test_one_more_error_never_turns_a_refusal_into_a_release(
    pairs: list[tuple[int, int]], policy: Policy, served: float | None, data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, len(pairs) - 1))
    worse = [(c - 1, rows) if i == label else (c, rows) for i, (c, rows) in enumerate(pairs)]
    model = _counted(pairs)
    baseline = None if served is None else dataclasses.replace(model, accuracy=served)
    before = failed(decide(model, baseline, policy))
    after = failed(decide(_counted(worse), baseline, policy))
    assert set(before) <= set(after)


@given(pairs=counts, policy=policies, served=st.none() | fractions)
def test_every_refusal_names_its_actual_and_its_required_value(
    pairs: list[tuple[int, int]], policy: Policy, served: float | None
) -> None:
    model = _counted(pairs)
    baseline = None if served is None else dataclasses.replace(model, accuracy=served)
    for check in decide(model, baseline, policy):
        if not check.passed:
            sign = "+" if check.name == "baseline" else ""
            assert f"{check.actual:{sign}.4f}" in check.sentence
            side = "less" if check.name == "cross_entropy" else "more"
            assert f"required is {check.required:{sign}.4f} or {side}" in check.sentence
