"""Draws the trials of a search: the objective over time, and against each hyper-parameter."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from trainer.tuning.results import COMPLETED, Results, Trial

_TRIAL, _BEST, _FAILED = "tab:blue", "tab:orange", "tab:red"
_COLUMNS = 3


def draw(results: Results) -> bytes:
    """Returns a PNG; at least one trial of the results must be completed."""
    names = list(results.best.values)
    rows = math.ceil((1 + len(names)) / _COLUMNS)
    # Without pyplot a figure needs no display, and leaves no global state behind.
    figure = Figure(figsize=(4 * _COLUMNS, 3 * rows), dpi=120, layout="constrained")
    cells = iter(figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).flat)
    _draw_course(next(cells), results)
    for name in names:
        _draw_against(next(cells), results, name)
    for empty in cells:
        empty.set_axis_off()
    best = results.best
    figure.suptitle(
        f"{len(results.trials)} trials, best (star) is trial {best.number} with eval "
        f"{results.objective} {results.score(best):.4f}",
        fontsize="x-large",
    )
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _scores(results: Results, trials: Iterable[Trial]) -> list[float]:
    scores = map(results.score, trials)
    return [math.nan if score is None else score for score in scores]


def _draw_course(axes: Axes, results: Results) -> None:
    numbers = [trial.number for trial in results.trials]
    scores = _scores(results, results.trials)
    better = max if results.objective == "accuracy" else min
    so_far = itertools.accumulate(
        scores, lambda best, score: better(filter(math.isfinite, (best, score)), default=math.nan)
    )
    axes.plot(numbers, scores, "o", color=_TRIAL, markersize=5, label="trial")
    axes.plot(numbers, list(so_far), color=_BEST, linewidth=1, label="best so far")
    for trial in results.trials:
        if trial.status != COMPLETED:
            axes.axvline(trial.number, color=_FAILED, linestyle=":", linewidth=1)
    axes.set_xlabel("trial (dotted: failed)")
    axes.set_ylabel(f"eval {results.objective}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def _draw_against(axes: Axes, results: Results, name: str) -> None:
    values = [trial.values[name] for trial in results.trials]
    scores = _scores(results, results.trials)
    axes.plot(values, scores, "o", color=_TRIAL, markersize=5, alpha=0.7)
    best = results.best
    axes.plot([best.values[name]], _scores(results, [best]), "*", color=_BEST, markersize=13)
    if name == "learning_rate":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if name == "weight_decay":  # 0 is one of its values
        axes.set_xscale("symlog", linthresh=1e-4)
    axes.set_xlabel(name)
    axes.grid(alpha=0.3)
