"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

from pathlib import Path

from pipeline.report import charts, findings, gallery
from pipeline.report.templates import environment
from pipeline.result import RunResult
from trainer.host.files import write_durably


def render(result: RunResult) -> str:
    """Returns the page as HTML, with every text escaped, control characters too."""
    page = environment().get_template("page.html")
    return page.render(
        run=result,
        findings=findings,
        charts=charts,
        gallery_of=gallery,
        described=gallery.described,
    )


def write(result: RunResult, path: Path) -> None:
    """Writes the page completely or not at all; raises OSError."""
    write_durably(path, render(result))
