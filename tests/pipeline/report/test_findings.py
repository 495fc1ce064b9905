import dataclasses
import time

import pytest

from components.gate import power
from components.gate.evidence import Evidence, Tally
from pipeline.report import findings
from tests.pipeline.report.runs import (
    ALONE,
    COMPARED,
    FAILED_RUN,
    FIRST_RUN,
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
    assert findings.headline(UNCHANGED_RUN) == "Unchanged: version 3 holds this model already."
    assert findings.headline(REFUSED_RUN) == (
        f"Refused by 1 of {checks} checks: nothing was released, and the served version stays."
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
        assert [(row.label, row.verdict) for row in findings.groups(run)] == [
            ("class cat", "passed"),
            ("class <dog>", "failed"),
            ("width below 20", "not judged"),  # 50 of at least 100 images
        ]


def test_an_error_is_as_hot_as_it_is_frequent() -> None:
    cells = [cell for _, row in findings.confusion(COMPARED) for cell in row]
    assert [cell.rows for cell in cells] == [490, 10, 20, 480]
    assert [cell.correct for cell in cells] == [True, False, False, True]
    assert [cell.heat for cell in cells] == [0.0, 0.5, 1.0, 0.0]  # 20 is the most frequent


def test_a_matrix_without_errors_or_that_was_not_counted_is_no_error() -> None:
    perfect = dataclasses.replace(COMPARED, confusion=((500, 0), (0, 500)))
    assert all(cell.heat == 0.0 for _, row in findings.confusion(perfect) for cell in row)
    assert findings.confusion(dataclasses.replace(COMPARED, confusion=())) == []
    assert findings.confusion(None) == []


def test_the_power_is_that_of_all_images_and_of_each_judged_group() -> None:
    rows = findings.power_table(RELEASED_RUN)
    assert [row.label for row in rows] == ["all test images", "class cat", "class <dog>"]
    whole = power.of_all(COMPARED, POLICY, decision=3)
    assert whole is not None
    assert rows[0].minimum_detectable_drop == whole.minimum_detectable_drop(0.8)
    assert rows[0].images == pytest.approx(1000 * rows[0].minimum_detectable_drop)
    assert rows[0].refusals == tuple(whole.refusal(x) for x in (0.001, 0.002, 0.005, 0.01))


def test_without_a_measurement_there_is_nothing_to_say() -> None:
    for name in ("failed", "broken"):
        run = RUNS[name]
        assert findings.measured(run) is None
        assert findings.groups(run) == findings.power_table(run) == []


def test_the_power_for_mnist_takes_less_than_a_second() -> None:
    tally = Tally(1000, 985, lost=5, gained=6)
    evidence = Evidence(
        overall=Tally(10_000, 9_850, lost=50, gained=60),
        classes={str(digit): tally for digit in range(10)},
        slices={},
        cross_entropy=0.05,
        top_2_accuracy=1.0,
        compared=True,
    )
    run = dataclasses.replace(RELEASED_RUN, evidence=evidence)
    start = time.process_time()
    assert len(findings.power_table(run)) == 11
    assert time.process_time() - start < 1.0
