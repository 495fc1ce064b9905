"""The environment of the HTML templates, which escapes every text."""

from __future__ import annotations

from typing import Any

import jinja2

from pipeline.report import formats
from trainer.host.text import printable


def environment() -> jinja2.Environment:
    """Returns one whose templates lie in this package."""
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


def _printable(value: Any) -> Any:
    """Escapes control characters; the markup of a macro has none left."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value) if is_text else value
