"""The list of checks: its order, what spends the error, and what never helps a model."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gate import statistics
from components.gate.check import Check, passed
from components.gate.decide import GATE_CHECKS, GateCheck
from components.gate.evidence import Case, Evidence, Tally
from components.gate.policy import Policy
from tests.components.gate.cases import (
    BANDS,
    COMPARED,
    GOOD,
    POLICY,
    checks_of,
    failed,
)
from trainer.host.registry import PluginError
from trainer.host.text import p_value

pytestmark = pytest.mark.once  # of the standard library alone; test_accuracy.py decides on both


def test_a_good_first_model_passes_every_check() -> None:
    checks = checks_of(GOOD)
    assert [check.name for check in checks] == [
        *("integrity.rows", "integrity.digest", "integrity.model", "integrity.withdrawn"),
        *("integrity.classes", "integrity.finite", "test_budget", "floor", "cross_entropy"),
        *("baseline", "class.cat", "class.dog"),
    ]
    assert passed(checks)


def test_with_a_served_model_the_comparison_takes_the_place_of_first_release() -> None:
    names = [check.name for check in checks_of(COMPARED)]
    assert names[7:] == [
        *("floor", "cross_entropy", "not_worse", "max_drop", "class.cat", "class.dog"),
        *("class_change.cat", "class_change.dog"),
    ]
    assert passed(checks_of(COMPARED))


def test_no_checks_at_all_prove_nothing() -> None:
    assert not passed(())


def test_every_check_whose_error_is_a_release_spends_and_no_other_does() -> None:
    first, later = (
        {
            check.name: check
            for must_improve in (False, True)
            for check in checks_of(
                COMPARED, dataclasses.replace(POLICY, must_improve=must_improve), decision=decision
            )
        }
        for decision in (1, 40)
    )
    changed = {name for name in first if first[name] != later[name]}
    assert changed == {"test_budget", "floor", "improved", "max_drop"}
    level = POLICY.release_alpha(40)
    assert later["improved"].required == level
    assert later["max_drop"].actual == statistics.drop_upper(
        *(COMPARED.overall.lost, COMPARED.overall.gained, COMPARED.overall.rows),
        1.0 - level,
        max_drop=POLICY.max_drop,
    )


def test_simulations_make_the_checks_that_judge_by_right_and_wrong_alone() -> None:
    kinds = {check.kind for check in checks_of(COMPARED, simulated=True)}
    assert kinds == {"floor", "not_worse", "max_drop", "class", "class_change"}


def test_a_plugins_check_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def weakest(case: Case) -> Iterator[Check]:
        yield 1 / 0  # type: ignore[misc]

    monkeypatch.setitem(GATE_CHECKS._entries, "weakest", GateCheck("", weakest))
    with pytest.raises(
        PluginError,
        match=r"^the gate check 'weakest' could not be made \(ZeroDivisionError: .*repair or",
    ):
        checks_of(COMPARED)


def test_the_checks_are_listed_without_numpy_and_scipy() -> None:
    code = "import sys, components.gate.decide as d; list(d.GATE_CHECKS); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "scipy", "tensorflow"} & set(done.stdout.split())


# --- properties -----------------------------------------------------------------------------------


fractions = st.floats(0.0, 1.0)
policies = st.builds(
    Policy,
    floor=fractions,
    class_floor=fractions,
    max_cross_entropy=st.floats(0.0, 3.0),
    max_drop=st.sampled_from([0.0, 1e-9, 0.01, 0.1, 0.5]),
    must_improve=st.booleans(),
    confidence=st.floats(0.6, 0.999),
    test_budget=st.integers(1, 5),
    min_slice_rows=st.integers(1, 20),
    slices=st.just((BANDS,)),
)


@st.composite
def models(draw: st.DrawFn) -> list[tuple[str, str, bool, bool]]:
    """(class, slice, candidate right, served model right) for each example."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cat", "dog", "eel"]),
                st.sampled_from(BANDS.names),
                st.booleans(),
                st.booleans(),
            ),
            min_size=1,
            max_size=60,
        )
    )


def counted(examples: list[tuple[str, str, bool, bool]], *, compared: bool) -> Evidence:
    """Of a model with probability 0.9 for its prediction, and 0.1 for the label where it errs."""

    def tally(column: int | None = None, value: str = "") -> Tally:
        group = [e for e in examples if column is None or e[column] == value]
        return Tally(
            rows=len(group),
            correct=sum(right for *_, right, _ in group),
            lost=sum(compared and before and not right for *_, right, before in group),
            gained=sum(compared and right and not before for *_, right, before in group),
        )

    overall = tally()
    return Evidence(
        overall=overall,
        classes={name: tally(0, name) for name in ("cat", "dog", "eel")},
        slices={name: tally(1, name) for name in BANDS.names},
        cross_entropy=-(overall.correct * math.log(0.9) + overall.errors * math.log(0.1))
        / overall.rows,
        top_2_accuracy=1.0,
        compared=compared,
    )


@given(
    examples=models(),
    policy=policies,
    compared=st.booleans(),
    decision=st.integers(1, 8),
    data=st.data(),
)
def test_one_more_error_never_turns_a_refusal_into_a_release(
    examples, policy: Policy, compared: bool, decision: int, data: st.DataObject
) -> None:
    right = [index for index, example in enumerate(examples) if example[2]]
    if not right:
        return
    index = data.draw(st.sampled_from(right))
    worse = [*examples]
    worse[index] = (*examples[index][:2], False, examples[index][3])
    before, after = (
        failed(checks_of(counted(some, compared=compared), policy, decision=decision))
        for some in (examples, worse)
    )
    assert set(before) <= set(after)


@given(examples=models(), policy=policies, compared=st.booleans(), decision=st.integers(1, 8))
def test_one_more_decision_never_turns_a_refusal_into_a_release(
    examples, policy: Policy, compared: bool, decision: int
) -> None:
    given = counted(examples, compared=compared)
    before, after = (
        failed(checks_of(given, policy, decision=number)) for number in (decision, decision + 1)
    )
    assert set(before) <= set(after)


@given(examples=models(), policy=policies, compared=st.booleans())
def test_every_refusal_names_its_actual_and_its_required_value(
    examples, policy: Policy, compared: bool
) -> None:
    for check in checks_of(counted(examples, compared=compared), policy):
        if check.passed or check.name.startswith("integrity."):
            continue
        kind = check.name.partition(".")[0]
        if kind in ("not_worse", "improved"):
            assert p_value(check.actual) in check.sentence
        elif kind not in ("class_change", "slice_change"):
            assert f"{abs(check.actual):.4f}" in check.sentence
            assert f"{check.required:.4f}" in check.sentence
