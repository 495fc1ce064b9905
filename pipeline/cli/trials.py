"""What a search has tried, in some lines for a person.

Synopsis::

    for line in lines(result.tuning, result.tuning_plot):
        print(line)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.terminal import duration
from trainer.tuning.trials import COMPLETED, Results, Trial, ranked

_MOST = 10  # trials in the table


def lines(results: Results, plot: str | None) -> Iterator[str]:
    """The best trial, what it tried, a table of the best ones, and where all of them are."""
    best, count = results.best, len(results.trials)
    first = results.trials[0]
    start = f"; what it started from, trial 1: {_score(first, results)}" if first != best else ""
    yield (
        f"tuning: {count} trials, best on eval is trial {best.number} with {results.objective} "
        f"{_score(best, results)}{start}"
    )
    yield f"hyper-parameters: {', '.join(f'{k} {v:g}' for k, v in best.values.items())}"
    shown = ranked(results.trials, results.objective)[:_MOST]
    header = ("trial", "accuracy", "loss", "epochs", "time", *best.values)
    rows = [header, *(_row(trial) for trial in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    if plot:
        more = f"the best {_MOST} of them above, " if count > _MOST else ""
        yield f"trials: {more}all in {Path(plot).with_suffix('.json')}, drawn in {plot}"


def _score(trial: Trial, results: Results) -> str:
    score = trial.eval_accuracy if results.objective == "accuracy" else trial.eval_loss
    return trial.status if score is None else f"{score:.4f}"


def _row(trial: Trial) -> tuple[str, ...]:
    values = tuple(f"{value:g}" for value in trial.values.values())
    if trial.status != COMPLETED:
        return (str(trial.number), trial.status, "", str(trial.epochs), "", *values)
    return (
        str(trial.number),
        f"{trial.eval_accuracy:.4f}",
        f"{trial.eval_loss:.4f}",
        str(trial.epochs),
        duration(trial.seconds or 0.0),
        *values,
    )
