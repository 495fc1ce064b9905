"""Whose counts they are, and how often the test set was used."""

import dataclasses

import pytest

from components.gate.check import Check
from components.gate.evidence import Tally
from components.gate.integrity import damage_check
from components.gate.slices import Values
from tests.components.gate.cases import (
    ANYTHING,
    BANDS,
    GOOD,
    POLICY,
    checks_of,
    compared_with,
    evidence,
    failed,
    find,
    provenance,
    with_slices,
)


def test_sound_evidence_passes_and_each_check_says_what_it_found() -> None:
    sound = [check for check in checks_of(GOOD) if check.kind == "integrity"]
    assert [(check.passed, check.sentence) for check in sound] == [
        (True, "2,000 test images evaluated"),
        (True, "the test split has the digest dddddddddddd"),
        (True, "the exported SavedModel was evaluated"),
        (True, "this model was never withdrawn"),
        (True, "all 2 classes are in the test split"),
        (True, "every probability is a finite number"),
    ]


@pytest.mark.parametrize("rows", [1999, 2001])
def test_other_rows_than_recorded_are_refused(rows: int) -> None:
    checks = checks_of(GOOD, provenance=provenance(rows))
    assert failed(checks) == ["integrity.rows"]
    sentence = find(checks, "integrity.rows").sentence
    assert sentence == (
        f"2,000 test images evaluated, expected the {rows:,} recorded: run again with --no-cache"
    )


def test_a_test_split_that_was_recorded_as_empty_is_refused() -> None:
    assert "integrity.rows" in failed(checks_of(evidence(cat=Tally(0, 0))))


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        (
            {"split_digest": "e" * 64},
            "integrity.digest",
            "the test split has the digest eeeeeeeeeeee, expected the recorded dddddddddddd: run "
            "again with --no-cache",
        ),
        (
            {"evaluated_model": "another"},
            "integrity.model",
            "the model in another was evaluated, expected the exported one in model: run again "
            "with --no-cache",
        ),
        (
            {"withdrawn": "withdrawn by version 3 at 2026-11-24: sevens"},
            "integrity.withdrawn",
            "this very model was withdrawn by version 3 at 2026-11-24: sevens; train another one",
        ),
    ],
)
def test_other_examples_or_another_model_are_refused(
    change: dict[str, str], name: str, sentence: str
) -> None:
    checks = checks_of(GOOD, provenance=provenance(2000, **change))
    assert failed(checks) == [name]
    assert find(checks, name).sentence == sentence


def test_a_class_without_examples_is_refused() -> None:
    checks = checks_of(evidence(cat=990, dog=980, eel=Tally(rows=0, correct=0)))
    assert failed(checks) == ["integrity.classes"]
    classes = find(checks, "integrity.classes")
    assert (classes.actual, classes.required) == (2, 3)
    assert "no example of eel" in classes.sentence


def test_no_class_at_all_is_refused() -> None:
    nothing = dataclasses.replace(GOOD, classes={})
    checks = checks_of(nothing)
    assert "integrity.classes" in failed(checks)
    assert "no example of any class" in find(checks, "integrity.classes").sentence


@pytest.mark.parametrize(
    ("rows", "wrong", "sentence"),
    [
        (1, [], "each value that gate.slices names is in the test split (1)"),
        (
            0,
            ["integrity.slices"],
            "the test split has no example of camera=front, which gate.slices names: correct the "
            "name, or add examples",
        ),
    ],
)
def test_a_named_slice_without_examples_is_refused(
    rows: int, wrong: list[str], sentence: str
) -> None:
    policy = dataclasses.replace(POLICY, slices=(BANDS, Values("camera", ("front",))))
    sliced = with_slices(GOOD, Tally(rows=0, correct=0), Tally(rows=2000, correct=1950))
    cameras = {"camera=front": Tally(rows, rows), "camera=(other)": Tally(0, 0)}
    checks = checks_of(dataclasses.replace(sliced, slices={**sliced.slices, **cameras}), policy)
    assert failed(checks) == wrong
    named = find(checks, "integrity.slices")
    assert (named.actual, named.required, named.sentence) == (1 - len(wrong), 1, sentence)


def test_a_prediction_that_is_no_number_is_refused() -> None:
    checks = checks_of(dataclasses.replace(GOOD, not_finite=1), ANYTHING)
    assert failed(checks) == ["integrity.finite"]
    finite = find(checks, "integrity.finite")
    assert (finite.actual, finite.required) == (1, 0)
    assert "1 of 2,000 predictions hold NaN" in finite.sentence


def test_predicted_classes_alone_are_not_held_to_be_finite() -> None:
    alone = dataclasses.replace(GOOD, cross_entropy=None)
    assert "integrity.finite" not in [check.name for check in checks_of(alone)]


# --- the budget of the test set -------------------------------------------------------------------


def test_each_decision_says_how_often_it_may_err() -> None:
    assert find(checks_of(GOOD, decision=10), "test_budget").sentence == (
        "decision 10 on this test set: it releases a bad model with a probability of at most 0.13 "
        "%, all decisions together with at most 5 %"
    )


def test_beyond_its_budget_a_test_set_should_be_replaced() -> None:
    check = find(checks_of(GOOD, decision=11), "test_budget")
    assert check.passed
    assert check.sentence.endswith("; 10 were planned for: collect new test images")


def test_decisions_that_the_log_had_lost_are_said() -> None:
    assert find(checks_of(GOOD, decision=4, lost=3), "test_budget").sentence.endswith(
        "; the decision log had lost 3 of those before, which count: models that it alone knew "
        "as withdrawn or rejected are forgotten, unless you put its lines back"
    )


# --- the baseline ---------------------------------------------------------------------------------


def test_a_first_release_says_that_it_is_one() -> None:
    sentence = "there is no baseline to compare with"
    assert find(checks_of(GOOD), "baseline") == Check("baseline", True, None, None, sentence)


def test_a_first_release_is_refused_where_a_baseline_is_required() -> None:
    policy = dataclasses.replace(POLICY, require_baseline=True)
    checks = checks_of(GOOD, policy)
    assert failed(checks) == ["baseline"]
    assert find(checks, "baseline").required == "a served version"
    assert find(checks, "baseline").sentence == (
        "there is no baseline to compare with, and gate.require_baseline "
        "is set: give the directory that is served from, or the baseline, or release the first "
        "model with gate.require_baseline=false"
    )
    assert failed(checks_of(compared_with(14, 14), policy)) == []


def test_a_damaged_version_alone_is_no_baseline_whatever_is_allowed() -> None:
    policy = dataclasses.replace(POLICY, require_baseline=True, allow_missing_baseline=True)
    checks = checks_of(GOOD, policy, damage="version 3 has no manifest.json")
    assert failed(checks) == ["baseline"]


def test_a_served_model_that_cannot_be_read_refuses_the_release() -> None:
    checks = checks_of(GOOD, damage="version 3: has no manifest.json")
    assert failed(checks) == ["baseline"]
    assert find(checks, "baseline").sentence == (
        "the served model cannot be read: version 3: has no manifest.json; repair it, roll back to "
        "a good version, or override with --allow-missing-baseline --reason TEXT"
    )


def test_the_override_is_recorded_and_what_can_be_compared_still_is() -> None:
    policy = dataclasses.replace(POLICY, allow_missing_baseline=True)
    checks = checks_of(compared_with(26, 14), policy, damage="version 3 has no manifest.json")
    assert failed(checks) == ["not_worse"]
    baseline = find(checks, "baseline")
    assert baseline == damage_check("version 3 has no manifest.json", policy)
    assert baseline.sentence.endswith("overridden by gate.allow_missing_baseline")
