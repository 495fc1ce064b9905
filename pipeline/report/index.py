"""The page of all runs of a pipeline root, `reports/index.html`, written after each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.records import REPORTS, RunRecord, read_all
from pipeline.report import charts, templates
from trainer.host.files import write_durably

FILE = "index.html"
_MOST_POINTS = 60  # of a picture


def render(runs: Sequence[RunRecord]) -> str:
    """Returns the page as HTML; the runs are the newest first."""
    pictures = list(_pictures(runs))
    return templates.render("index.html", runs=runs, pictures=pictures, most=_MOST_POINTS)


def write(root: Path) -> None:
    """Writes the page completely or not at all; raises OSError."""
    write_durably(root / REPORTS / FILE, render(read_all(root)))


def _pictures(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """A picture for each data set that was measured, that of the newest run first."""
    measured = [run for run in runs if run.accuracy is not None and run.dataset]
    for dataset in dict.fromkeys(run.dataset for run in measured):
        of_set = [run for run in measured if run.dataset == dataset][:_MOST_POINTS][::-1]
        when = "%m-%d" if len({run.started.date() for run in of_set}) > 1 else "%H:%M"
        points = [
            (
                format(run.started, when),
                run.accuracy or 0.0,
                run.outcome,
                "" if run.version is None else str(run.version),
            )
            for run in of_set
        ]
        last = points[-1][1]
        counted = f"{len(points)} run{'s' * (len(points) != 1)}"
        described = f"Accuracy of {counted} on {dataset}; the last one has {last:.4f}"
        yield str(dataset), charts.accuracy_over_time(points, described)
