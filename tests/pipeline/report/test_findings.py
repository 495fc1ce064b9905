import dataclasses

import pytest
from scipy import stats

from components.gate import power
from components.gate.evidence import Tally
from pipeline.report import findings
from tests.pipeline.report.runs import (
    ALONE,
    COMPARED,
    FAILED_RUN,
    FIRST_RUN,
    HELD_RUN,
    POLICY,
    REFUSED_RUN,
    RELEASED_RUN,
    RUNS,
    UNCHANGED_RUN,
    decided,
)


def test_the_headline_is_the_outcome() -> None:
    checks = len(REFUSED_RUN.checks)
    assert findings.headline(RELEASED_RUN) == "Released: version 3 is served."
    late = dataclasses.replace(RELEASED_RUN, error="after version 3 was released in s/3: no luck")
    assert findings.headline(late) == f"Failed: {late.error}"
    assert findings.headline(UNCHANGED_RUN) == "Unchanged: version 3 holds this model already."
    assert findings.headline(HELD_RUN) == "Held for approval: every check passed."
    assert findings.headline(REFUSED_RUN) == (
        f"Refused by 1 of {checks} checks: nothing was released, and what is served stays."
    )
    assert findings.headline(FAILED_RUN) == f"Failed: {FAILED_RUN.error}"


def test_an_overridden_baseline_is_said_beside_the_one_compared_with() -> None:
    policy = dataclasses.replace(POLICY, allow_missing_baseline=True)
    checks = decided(COMPARED, policy, damage="version 5 lacks a file")
    (damage, compared) = findings.comparison(dataclasses.replace(RELEASED_RUN, checks=checks))
    assert "version 5 lacks a file; overridden by gate.allow_missing_baseline" in damage
    assert compared == "compared with version 2"


def test_the_bounds_are_the_gates() -> None:
    given = findings.measured(RELEASED_RUN)
    assert given is not None
    bound_of = {check.name: check.actual for check in RELEASED_RUN.checks}
    assert given.lower == bound_of["floor"]
    assert given.loss == bound_of["max_drop"]
    alone = findings.measured(FIRST_RUN)
    assert alone is not None
    assert alone.loss is None


def test_a_later_decisions_bound_has_the_confidence_that_the_gate_used() -> None:
    worn = dataclasses.replace(RELEASED_RUN, checks=decided(COMPARED, decision=50))
    given = findings.measured(worn)
    assert given is not None
    assert given.confidence == pytest.approx(1 - 0.05 * 10 / (59 * 60))
    floor = next(check for check in worn.checks if check.name == "floor")
    assert given.lower == floor.actual


def test_a_group_fails_by_its_floor_or_by_its_change() -> None:
    by_floor = dataclasses.replace(ALONE, classes={**ALONE.classes, "<dog>": Tally(500, 380)})
    by_change = dataclasses.replace(
        COMPARED, classes={**COMPARED.classes, "<dog>": Tally(500, 480, lost=20)}
    )
    for evidence in (by_floor, by_change):
        run = dataclasses.replace(RELEASED_RUN, evidence=evidence, checks=decided(evidence))
        assert [(group.label, verdict) for group, verdict in findings.groups(run)] == [
            ("class cat", "passed"),
            ("class <dog>", "failed"),
            ("width below 20", "not judged"),  # 50 of at least 100 images
        ]


@pytest.mark.parametrize(("count", "drawn"), [(40, range(40)), (41, range(40, 0, -1))])
def test_of_more_classes_than_a_picture_has_room_for_the_lowest_are_drawn(count, drawn) -> None:
    classes = {f"c{i}": Tally(100, 100 - i) for i in range(count)}
    evidence = dataclasses.replace(COMPARED, classes=classes, slices={"empty": Tally(0, 0)})
    found = findings.accuracy_intervals(dataclasses.replace(RELEASED_RUN, evidence=evidence))
    assert [label for label, *_ in found] == [f"class c{i}" for i in drawn]
    low, high = stats.binomtest(80, 100).proportion_ci(method="exact")
    assert found[20] == ("class c20", pytest.approx(low), 0.8, pytest.approx(high), "passed")


def test_errors_are_the_cells_off_the_diagonal_the_most_frequent_first() -> None:
    classes = dict.fromkeys(["cat", "dog", "owl"], Tally(100, 90))
    confusion = ((90, 3, 7), (0, 100, 0), (7, 8, 85))
    evidence = dataclasses.replace(COMPARED, classes=classes, confusion=confusion)
    assert findings.errors(evidence) == [
        ("owl", "dog", 8),
        ("cat", "owl", 7),
        ("owl", "cat", 7),
        ("cat", "dog", 3),
    ]


def test_the_power_is_that_of_all_images_and_of_each_judged_group() -> None:
    whole, *judged = findings.power_table(RELEASED_RUN)
    assert whole == power.of_all(COMPARED, POLICY, decision=3)
    assert [group.label for group in judged] == ["class cat", "class <dog>"]


def test_without_a_measurement_there_is_nothing_to_say() -> None:
    for name in ("failed", "broken"):
        run = RUNS[name]
        assert findings.measured(run) is None
        assert findings.groups(run) == findings.power_table(run) == []
