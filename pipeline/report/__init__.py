"""The report of a run: one HTML page, without scripts and external resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import findings, formats
from pipeline.result import RunResult
from trainer.host.files import write_durably
from trainer.host.text import printable


def environment() -> jinja2.Environment:
    """Returns what fills the templates in, with every text escaped, control characters too."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(formats.FILTERS)
    return made


def render(result: RunResult) -> str:
    """Returns the page as HTML."""
    return environment().get_template("page.html").render(run=result, findings=findings)


def _printable(value: Any) -> Any:
    """Escapes control characters; the markup of a macro has none left."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value) if is_text else value


def write(result: RunResult, path: Path) -> None:
    """Writes the page completely or not at all; raises OSError."""
    write_durably(path, render(result))
