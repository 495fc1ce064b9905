"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import findings, formats
from pipeline.result import RunResult
from trainer.host.files import write_durably
from trainer.host.text import printable

_DECISION = "<!-- the decision on a held model -->"


def render(result: RunResult) -> str:
    """Returns the page as HTML, with every text escaped, control characters too."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment.get_template("page.html").render(run=result, findings=findings)


def _printable(value: Any) -> Any:
    """Escapes control characters; the markup of a macro has none left."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value) if is_text else value


def add_decision(path: Path, sentence: str) -> None:
    """Adds to the page of a held run what was decided on its model; raises OSError."""
    page = path.read_text(encoding="utf-8")
    said = f"<p>{html.escape(printable(sentence))}</p>"
    write_durably(path, page.replace(_DECISION, f"{said}\n{_DECISION}", 1))


def write(result: RunResult, path: Path) -> None:
    """Writes the page completely or not at all; raises OSError."""
    write_durably(path, render(result))
