"""The HTML templates, which escape every text, and their filters, which format numbers."""

from __future__ import annotations

import math
import shlex
from typing import Any

import jinja2

from trainer.host import text

NOTHING = "–"


def value(given: float | str | None) -> str:
    """A number, a text, or nothing; the thousands of whole numbers are separated."""
    if given is None:
        return NOTHING
    if isinstance(given, str):
        return given
    return f"{given:.4g}" if isinstance(given, float) else f"{given:,}"


def percent(fraction: float) -> str:
    """Formats a fraction as percent with two digits: 0.9917 is "99.17 %"."""
    return NOTHING if math.isnan(fraction) else text.percent(fraction)


def points(fraction: float | None, sign: str = "") -> str:
    """Formats a difference of two fractions in percentage points; sign "+" marks gains as well."""
    if fraction is None or math.isnan(fraction):
        return NOTHING
    return f"{fraction * 100:{sign}.2f}"


def chance(probability: float) -> str:
    """A probability in whole percent; "< 1 %" and "> 99 %" keep 0 and 100 for certainty."""
    if 0.0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1.0:
        return "> 99 %"
    return f"{probability * 100:.0f} %"


def render(template: str, **values: Any) -> str:
    """Returns the page of a template in this package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shell_word"] = shlex.quote  # of a command that is to be copied
    for function in (value, percent, text.confidence, text.duration, points, chance):
        environment.filters[function.__name__] = function
    return environment.get_template(template).render(values)


def _printable(given: Any) -> Any:
    """Escapes control characters; the markup of a macro has none left."""
    is_text = isinstance(given, str) and not hasattr(given, "__html__")
    return text.printable(given) if is_text else given
