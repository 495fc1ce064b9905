"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

import contextlib
import html
from pathlib import Path

from components.serving_dir import ServingDirError, find
from pipeline.report import charts, findings, gallery, templates
from pipeline.result import RunResult, left_out
from trainer.host.files import read_regular, write_durably
from trainer.host.text import printable

_NO_PATHS: gallery.Paths = {}
_DECISION = "<!-- the decision on a held model -->"
_MAX_BYTES = 64 << 20  # of a page


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


def add_decision(path: Path, sentence: str) -> bool:
    """Says on the page of a held run what was decided on its model, unless it is said there.

    Returns False for another page, which stays as it is. Raises OSError, and ValueError for a page
    that is not UTF-8.
    """
    page = read_regular(path, max_bytes=_MAX_BYTES).decode()
    said = f'<p class="decided">{html.escape(printable(sentence))}</p>\n{_DECISION}'
    if _DECISION in page and said not in page:
        write_durably(path, page.replace(_DECISION, said, 1))
    return _DECISION in page


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
