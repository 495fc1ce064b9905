"""The result of a run in a few lines for people.

Synopsis::

    for line in summary(result):
        print(line.text)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO

from components.gate.check import Check
from components.gate.evidence import Evidence
from pipeline.cli import trials
from pipeline.cli.output import Line
from pipeline.cli.terminal import can_be_live, duration
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, Release, RunResult


def wants_colour(stream: TextIO, no_color: str | None) -> bool:
    """Tells whether to colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return can_be_live(stream) and not no_color


def summary(result: RunResult) -> list[Line]:
    """Returns the lines: data, accuracy, checks, outcome, time, report, and the log if needed."""
    return [
        *data(result.dataset),
        *_tuning(result),
        *evaluation(result.evidence),
        *check_lines(result.checks),
        *_outcome(result),
        *_time(result),
        *_report(result),
        *_log(result),
    ]


def data(dataset: Mapping[str, Any] | None) -> Iterator[Line]:
    """Yields the data set, if it is known, with the rows of its splits, if they are."""
    if not dataset:
        return
    splits = dataset.get("splits") or {}
    rows = ", ".join(f"{name} {_rows(split)}" for name, split in splits.items())
    yield Line(f"data: {dataset.get('name')}" + (f" ({rows})" if rows else ""))


def _rows(split: object) -> str:
    rows = split.get("rows") if isinstance(split, dict) else split
    return f"{rows:,}" if isinstance(rows, int) else str(rows)


def _tuning(result: RunResult) -> Iterator[Line]:
    if result.tuning is not None:
        yield from map(Line, trials.lines(result.tuning, result.tuning_plot))


def evaluation(evidence: Evidence | None) -> Iterator[Line]:
    """Yields the accuracy, if it is known."""
    if evidence is not None:
        overall = evidence.overall
        yield Line(f"accuracy: {overall.accuracy:.4f} on {overall.rows:,} test images")


# How the lowest of a kind is shown.
_FLOOR = "{actual:.4f} (allowed {bound:.4g})"
_CHANGE = "{actual:+.4f}"
_LOWEST = {"class": _FLOOR, "slice": _FLOOR, "class_change": _CHANGE, "slice_change": _CHANGE}


def check_lines(checks: Sequence[Check]) -> Iterator[Line]:
    """Yields each failed check by its sentence, and the passed ones by kind."""
    for kind, group in groupby(checks, key=lambda check: check.kind):  # they stand together
        members = list(group)
        yield from (Line(f"  failed: {c.sentence}", "bad") for c in members if not c.passed)
        passed = [check for check in members if check.passed]
        if len(passed) == 1:
            yield Line(f"  passed: {passed[0].sentence}", "good")
        elif passed:
            many = f"{len(passed)} {kind.replace('_', ' ')} checks"
            yield Line(f"  passed: {many}{_lowest(kind, passed)}", "good")


def _lowest(kind: str, checks: Sequence[Check]) -> str:
    """Returns the lowest value of classes or slices, which share one bound; "" for other kinds."""
    numbers = [(c.actual, c.name, c.required) for c in checks if isinstance(c.actual, float | int)]
    form = _LOWEST.get(kind)
    if form is None or not numbers:
        return ""
    actual, name, bound = min(numbers)
    return f", lowest {name.partition('.')[2]}: {form.format(actual=actual, bound=bound)}"


def _outcome(result: RunResult) -> Iterator[Line]:
    if result.outcome == RELEASED:
        yield Line(f"released: {_release(result.release)}", "good")
    elif result.outcome == UNCHANGED:
        yield Line(f"unchanged: {_release(result.release)} holds this model already", "good")
    elif result.outcome == REFUSED:
        yield Line("refused: nothing was released, what was served stays", "bad")
    elif result.outcome == FAILED:
        yield Line(f"failed: {result.error}", "bad")


def _release(release: Release | None) -> str:
    return "no version" if release is None else f"version {release.version} in {release.path}"


def _time(result: RunResult) -> Iterator[Line]:
    taken = f", {len(result.cached)} of {len(result.seconds)} components from the cache"
    yield Line(f"time: {duration(result.total_seconds)}{taken if result.cached else ''}")


def _report(result: RunResult) -> Iterator[Line]:
    if result.report:
        yield Line(f"report: {result.report}")


def _log(result: RunResult) -> Iterator[Line]:
    if result.outcome in (REFUSED, FAILED) and result.log_file:
        yield Line(f"log: {result.log_file}")
