"""The statements of the report about a run, as plain values without HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from components.gate import accuracy, power
from components.gate.check import FAILED, NOT_JUDGED, PASSED, Check
from components.gate.evidence import Evidence, Group
from components.gate.evidence import groups as evidence_groups
from components.gate.statistics import proportion_interval
from pipeline.result import HELD, RELEASED, UNCHANGED, Release, RunResult
from trainer.tuning.results import text_of

LOSSES = (0.0, 0.001, 0.002, 0.005, 0.01)  # of accuracy, whose chance of a refusal is shown
MOST_INTERVALS = 40  # that a picture has room for
MOST_COLUMNS = 100  # of the confusion matrix, whose cells fill 25 MB of HTML for 1,000 classes
FEW_COLUMNS = 20  # of more, which a sheet of paper has no room for, the errors are listed as well
MOST_ERRORS = 40  # listed
LIKELY = 0.8  # "refused as a rule": the power that studies are planned for (Cohen 1988)


def headline(result: RunResult) -> str:
    """Returns the outcome in one sentence."""
    if result.failed:
        return f"Failed: {result.error}"
    if result.outcome == RELEASED:
        return f"Released: {_version(result.release)} is served."
    if result.outcome == UNCHANGED:
        return f"Unchanged: {_version(result.release)} holds this model already."
    if result.outcome == HELD:
        return "Held for approval: every check passed."
    failed = sum(not check.passed for check in result.checks)
    return (
        f"Refused by {failed} of {len(result.checks)} checks: nothing was released, "
        "and what is served stays."
    )


def _version(release: Release | None) -> str:
    return "no version" if release is None else f"version {release.version}"


def hyper_parameters(given: Mapping[str, Any]) -> str:
    """Returns the hyper-parameters in one line, those of a network of one's own last."""
    flat = {**given, **given.get("extra", {})}
    flat.pop("extra", None)
    return ", ".join(f"{name} {text_of(value)}" for name, value in flat.items() if value != "")


def comparison(result: RunResult) -> list[str]:
    """Names the version that the model was compared with, or says why there was none."""
    sentences = [check.sentence for check in result.checks if check.name == "baseline"]
    if result.baseline is not None:
        sentences.append(f"compared with version {result.baseline['version']}")
    return sentences


def decision(checks: Sequence[Check]) -> int | None:
    """The number of this decision on the test split, 1 for the first; None where none was made."""
    counted = (check.actual for check in checks if check.name == "test_budget")
    return next((int(actual) for actual in counted if actual is not None), None)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The candidate's accuracy on all test images, 0..1.

    Attributes:
      confidence: that of each bound, 0..1.
      lower: exact one-sided lower bound of the accuracy.
      loss: one-sided upper bound of the loss against the baseline; None without one.
    """

    confidence: float
    lower: float
    loss: float | None


def measured(result: RunResult) -> Measured | None:
    """Returns the bounds at the policy's confidence; None if nothing was measured."""
    evidence, policy = result.evidence, result.policy
    if evidence is None or policy is None:
        return None
    overall = evidence.overall
    number = decision(result.checks) or 1
    return Measured(
        confidence=1.0 - policy.release_alpha(number),
        lower=accuracy.accuracy_lower(overall, policy, number),
        loss=accuracy.drop_upper(overall, policy, number) if evidence.compared else None,
    )


def groups(result: RunResult) -> list[tuple[Group, str]]:
    """Returns the classes and slices, each with `PASSED`, `FAILED` or `NOT_JUDGED`."""
    evidence, policy = result.evidence, result.policy
    if evidence is None or policy is None:
        return []
    failed = {check.name for check in result.checks if not check.passed}

    def verdict(group: Group) -> str:
        if not group.judged:
            return NOT_JUDGED
        change = group.name.replace(".", "_change.", 1)
        return FAILED if failed & {group.name, change} else PASSED

    return [(group, verdict(group)) for group in evidence_groups(evidence, policy)]


def accuracy_intervals(result: RunResult) -> list[tuple[str, float, float, float, str]]:
    """Returns label, exact two-sided 95 % bounds around the accuracy, and verdict of each class and
    slice with examples, as `charts.intervals` takes them; of too many, the lowest.
    """
    filled = [each for each in groups(result) if each[0].tally.rows]
    lowest = sorted(filled, key=lambda each: each[0].tally.accuracy)[:MOST_INTERVALS]
    return [
        (group.label, low, group.tally.accuracy, high, verdict)
        for group, verdict in (filled if len(lowest) == len(filled) else lowest)
        for low, high in [proportion_interval(group.tally.correct, group.tally.rows)]
    ]


def errors(evidence: Evidence) -> list[tuple[str, str, int]]:
    """Returns label, prediction and examples of the cells of the confusion matrix off its diagonal
    that are not 0, the most frequent error first.
    """
    names = list(evidence.classes)
    found = [
        (names[i], names[j], n)
        for i, row in enumerate(evidence.confusion)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda each: -each[2])


def power_table(result: RunResult) -> list[power.Power]:
    """Returns the power over all test images, then over the judged classes and slices."""
    evidence, policy = result.evidence, result.policy
    if evidence is None or policy is None:
        return []
    whole = power.of_all(evidence, policy, decision=decision(result.checks) or 1)
    first = [] if whole is None else [whole]
    return [*first, *power.of_groups(evidence, policy)]
