"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

import contextlib
from pathlib import Path

from components.serving_dir import ServingDirError, find
from pipeline.report import charts, findings, gallery, templates
from pipeline.result import RunResult, left_out
from trainer.host.files import write_durably

_NO_PATHS: gallery.Paths = {}


def render(
    result: RunResult, paths: gallery.Paths = _NO_PATHS, *, of_baseline: str | None = None
) -> str:
    """Returns the page as HTML, with every text escaped, control characters too.

    `paths` name the files of pictures; there may be none. `of_baseline` is the file, beside the
    page, of the report of the run that released the baseline.
    """
    return templates.render(
        "page.html",
        run=result,
        left_out=left_out(result.dataset),
        findings=findings,
        charts=charts,
        gallery_of=gallery,
        paths=paths,
        of_baseline=of_baseline,
    )


def write(result: RunResult, path: Path, paths: gallery.Paths = _NO_PATHS) -> None:
    """Writes the page, see `render`, completely or not at all; raises OSError."""
    write_durably(path, render(result, paths, of_baseline=_of_baseline(result, path.parent)))


def _of_baseline(result: RunResult, reports: Path) -> str | None:
    if result.baseline and result.serving_dir:
        with contextlib.suppress(ServingDirError):
            baseline = find(Path(result.serving_dir), result.baseline["version"])
            name = f"{baseline.release.get('run_id')}.html"
            return name if (reports / name).is_file() else None
    return None
