"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

import html
from pathlib import Path

from pipeline.report import charts, findings, gallery, templates
from pipeline.result import RunResult, left_out
from trainer.host.files import read_regular, write_durably
from trainer.host.text import printable

_DECISION = "<!-- the decision on a held model -->"
_MAX_BYTES = 64 << 20  # of a page


def render(result: RunResult) -> str:
    """Returns the page as HTML, with every text escaped, control characters too."""
    return templates.render(
        "page.html",
        run=result,
        left_out=left_out(result.dataset),
        findings=findings,
        charts=charts,
        gallery_of=gallery,
    )


def add_decision(path: Path, sentence: str) -> bool:
    """Says on the page of a held run what was decided on its model, unless it is said there.

    Returns False for another page, which stays as it is. Raises OSError, and ValueError for a page
    that is not UTF-8.
    """
    page = read_regular(path, max_bytes=_MAX_BYTES).decode()
    said = f"<p>{html.escape(printable(sentence))}</p>\n{_DECISION}"
    if _DECISION in page and said not in page:
        write_durably(path, page.replace(_DECISION, said, 1))
    return _DECISION in page


def write(result: RunResult, path: Path) -> None:
    """Writes the page completely or not at all; raises OSError."""
    write_durably(path, render(result))
