"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

from pathlib import Path

from pipeline.report import charts, findings, gallery, templates
from pipeline.result import RunResult, left_out
from trainer.host.files import write_durably

_NO_PATHS: gallery.Paths = {}


def render(result: RunResult, paths: gallery.Paths = _NO_PATHS) -> str:
    """Returns the page as HTML, with every text escaped, control characters too.

    `paths` name the files of pictures; there may be none.
    """
    return templates.render(
        "page.html",
        run=result,
        left_out=left_out(result.dataset),
        findings=findings,
        charts=charts,
        gallery_of=gallery,
        paths=paths,
    )


def write(result: RunResult, path: Path, paths: gallery.Paths = _NO_PATHS) -> None:
    """Writes the page, see `render`, completely or not at all; raises OSError."""
    write_durably(path, render(result, paths))
