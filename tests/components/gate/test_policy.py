"""The thresholds: which values are possible, and how decisions share the error."""

import dataclasses
import itertools
import json
import math
from typing import Any

import pytest

from components.gate.policy import Policy, promised_cross_entropy
from components.gate.slices import Bands
from components.gate.submissions import allowed_errors
from tests.components.gate.cases import BANDS, POLICY
from tests.refusals import refusal_of


def test_a_policy_has_every_threshold() -> None:
    with pytest.raises(
        TypeError, match=r"3 required .*'class_floor', 'max_cross_entropy', and 'max"
    ):
        Policy(floor=0.99)  # type: ignore[call-arg]


@pytest.mark.parametrize("budget", [1, 10, 25])
def test_all_decisions_together_spend_alpha_and_those_of_the_budget_half_of_it(budget) -> None:
    policy = dataclasses.replace(POLICY, test_budget=budget)
    spent = list(itertools.accumulate(map(policy.release_alpha, range(1, 100_001))))
    assert spent[budget - 1] == pytest.approx(0.05 / 2)
    assert spent[-1] == pytest.approx(0.05 * 100_000 / (100_000 + budget))  # for ever: 0.05


def test_no_decision_allows_more_than_one_error_less_than_the_one_before() -> None:
    mnist = dataclasses.replace(POLICY, floor=0.99)
    allowed = [allowed_errors(mnist, 10_000, decision) for decision in range(1, 101)]
    assert (allowed[0], allowed[9], allowed[-1]) == (74, 70, 62)
    assert {before - after for before, after in itertools.pairwise(allowed)} == {0, 1}


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


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_cross_entropy", math.inf, "a number, 0 or more"),
        ("floor", 99.0, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("class_floor", -0.01, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("max_drop", math.nan, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("confidence", 95.0, "a number above 0.5 and below 1: 0.95 stands for 95 %"),
        ("min_slice_rows", 0, "a whole number, 1 or more"),
    ],
)
def test_a_value_out_of_range_is_an_error(field: str, value: float, expected: str) -> None:
    said = refusal_of(ValueError, dataclasses.replace, POLICY, **{field: value})
    assert said == f"gate.{field} is {value}, expected {expected}"


def test_one_feature_is_cut_once() -> None:
    with pytest.raises(ValueError, match=r"gate\.slices names a feature twice"):
        dataclasses.replace(POLICY, slices=(BANDS, Bands("mean_intensity", (0.2,))))


@pytest.mark.parametrize("given", ["mean_intensity:0.1", ("mean_intensity:0.1",), [BANDS], BANDS])
def test_slices_of_another_type_are_an_error(given: Any) -> None:
    line = r"gate\.slices is .*, expected a tuple of slices: .* components\.gate\.slices\.parse$"
    with pytest.raises(ValueError, match=line):
        dataclasses.replace(POLICY, slices=given)


@pytest.mark.parametrize("extra", [{}, {"hardest_class": 0.9}])
def test_a_policy_survives_its_json_form(extra: dict[str, float]) -> None:
    policy = dataclasses.replace(POLICY, slices=(BANDS,), must_improve=True, extra=extra)
    assert Policy.from_config(json.loads(json.dumps(policy.to_config()))) == policy
    assert policy.to_config()["extra"] == extra


def test_another_threshold_is_another_digest() -> None:
    assert dataclasses.replace(POLICY, require_baseline=True).digest != POLICY.digest
