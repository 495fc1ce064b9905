"""The result of a run in a few lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from components.gate.check import FAILED, NOT_JUDGED, PASSED, Check
from components.gate.evidence import Evidence
from pipeline.cli.output import Line, table
from pipeline.result import (
    HELD,
    REFUSED,
    RELEASED,
    UNCHANGED,
    Release,
    RunResult,
    left_out,
    overrides,
)
from trainer.host.text import duration
from trainer.tuning.results import COMPLETED, Results, Trial, text_of

_MOST_TRIALS = 10  # in the table


def summary(result: RunResult) -> Iterator[str | Line]:
    """Yields the lines: data, network, accuracy, checks, outcome, time, report, log if needed."""
    yield from data(result.dataset)
    if result.network:
        yield f"network: {result.network}"
    if result.tuning is not None:
        yield from trials(result.tuning, result.tuning_plot)
    yield from _baseline(result)
    yield from evaluation(result.evidence)
    yield from check_lines(result.checks)
    if result.overrides:
        yield overrides(result.overrides)
    yield _outcome(result)
    yield from _decide(result)
    taken = f", {len(result.cached)} of {len(result.seconds)} components from the cache"
    yield f"time: {duration(result.total_seconds)}{taken if result.cached else ''}"
    if result.report:
        yield f"report: {result.report}"
    if result.tensorboard:
        yield f"curves: tensorboard --logdir {shlex.quote(result.tensorboard)}"
    if (result.failed or result.outcome == REFUSED) and result.log_file:
        yield f"log: {result.log_file}"


def data(dataset: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields the data set, the rows of its splits and what was left out, if they are known."""
    if dataset:
        splits = dataset.get("splits", {})
        rows = ", ".join(f"{name} {split['rows']:,}" for name, split in splits.items())
        yield f"data: {dataset['name']}" + (f" ({rows})" if rows else "")
        if besides := left_out(dataset):
            yield f"left out: {besides}"


def _baseline(result: RunResult) -> Iterator[str]:
    """Yields what was compared with, and where it was looked for: a path may be the wrong one."""
    if result.serving_dir and result.policy:
        found = f"version {result.baseline['version']}" if result.baseline else "none"
        if any(check.name == "baseline" and check.actual for check in result.checks):  # its damage
            found += ", the newest that can be read," if result.baseline else " that can be read"
        yield f"baseline: {found} in {result.serving_dir}"


def evaluation(evidence: Evidence | None) -> Iterator[str]:
    """Yields the accuracy, if it is known, and that of the baseline on the same images."""
    if evidence is not None:
        overall = evidence.overall
        than = f"; the baseline's is {overall.served_accuracy:.4f}" if evidence.compared else ""
        yield f"accuracy: {overall.accuracy:.4f} on {overall.rows:,} test images{than}"


# How the lowest of a kind is shown.
_FLOOR = "{actual:.4f} ({judged} {bound:.4g})"
_CHANGE = "{actual:+.4f}"
_LOWEST = {"class": _FLOOR, "slice": _FLOOR, "class_change": _CHANGE, "slice_change": _CHANGE}


def check_lines(checks: Sequence[Check]) -> Iterator[Line]:
    """Yields each failed check by its sentence, and the others by kind."""
    for kind, group in groupby(checks, key=lambda check: check.kind):  # they stand together
        members = list(group)
        yield from (Line(f"  failed: {c.sentence}", "bad") for c in members if c.result == FAILED)
        for result, style in ((PASSED, "good"), (NOT_JUDGED, "")):
            alike = [check for check in members if check.result == result]
            if len(alike) == 1:
                yield Line(f"  {result}: {alike[0].sentence}", style)
            elif alike:
                many = f"{len(alike)} {kind.replace('_', ' ')} checks"
                more = _lowest(kind, alike) if result == PASSED else f", first: {alike[0].sentence}"
                yield Line(f"  {result}: {many}{more}", style)


def _lowest(kind: str, checks: Sequence[Check]) -> str:
    """The lowest value of the classes or slices, which share one bound; "" for other kinds."""
    numbers = [
        (check.actual, check.name, check.required)
        for check in checks
        if isinstance(check.actual, float | int) and isinstance(check.required, float | int)
    ]
    form = _LOWEST.get(kind)
    if form is None or not numbers:
        return ""
    actual, name, bound = min(numbers)
    judged = "allowed" if actual >= bound else "not shown to be below"
    shown = form.format(actual=actual, bound=bound, judged=judged)
    return f", lowest {name.partition('.')[2]}: {shown}"


def _outcome(result: RunResult) -> Line:
    if result.failed:
        return Line(f"failed: {result.error}", "bad")
    if result.outcome == RELEASED:
        return Line(f"released: {_release(result.release)}", "good")
    if result.outcome == UNCHANGED:
        return Line(f"unchanged: {_release(result.release)} holds this model already", "good")
    if result.outcome == HELD and result.pending:
        return Line(f"held: the model waits in {result.pending.path}", "good")
    return Line("refused: nothing was released, and what is served stays", "bad")


def _decide(result: RunResult) -> Iterator[str]:
    """Yields the command that releases a held model."""
    if result.outcome == HELD and result.pending and not result.failed:
        waits = result.pending
        yield (
            f"release it: tfx-mnist approve {waits.run_id} --serving-dir "
            f"{shlex.quote(waits.serving_dir)} --by NAME --reason TEXT"
        )
        yield "  or reject it in the same way; with --config FILE if this run has keys or hooks"


def _release(release: Release | None) -> str:
    return "no version" if release is None else f"version {release.version} in {release.path}"


def trials(results: Results, plot: str | None) -> Iterator[str]:
    """Yields the best trial, its values, a table of the best trials, and the path of all."""
    best, first, count = results.best, results.trials[0], len(results.trials)
    start = f"; trial 1, the start, has {_score(first, results)}" if first != best else ""
    yield (
        f"tuning: {count} trials, best on eval is trial {best.number} with {results.objective} "
        f"{_score(best, results)}{start}"
    )
    yield f"hyper-parameters: {', '.join(f'{k} {text_of(v)}' for k, v in best.values.items())}"
    shown = results.ranked()[:_MOST_TRIALS]
    rows = [("trial", "accuracy", "loss", "epochs", "time", *best.values), *map(_trial, shown)]
    yield from (f"  {line}" for line in table(rows, align=str.rjust))
    if plot:
        more = f"the best {_MOST_TRIALS} of them above, " if count > _MOST_TRIALS else ""
        yield f"trials: {more}all in {Path(plot).with_suffix('.json')}, drawn in {plot}"


def _score(trial: Trial, results: Results) -> str:
    score = results.score(trial)
    return trial.status if score is None else f"{score:.4f}"


def _trial(trial: Trial) -> tuple[str, ...]:
    accuracy, loss, seconds = trial.status, "", ""
    if trial.status == COMPLETED:
        accuracy, loss = f"{trial.eval_accuracy:.4f}", f"{trial.eval_loss:.4f}"
        seconds = duration(trial.seconds or 0.0)
    values = (text_of(value) for value in trial.values.values())
    return (str(trial.number), accuracy, loss, str(trial.epochs), seconds, *values)
