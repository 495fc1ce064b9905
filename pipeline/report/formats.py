"""Filters of the report's template, which format numbers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping

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


FILTERS: Mapping[str, Callable[..., str]] = {
    "shell_word": shlex.quote,  # of a command that is to be copied
    **{
        function.__name__: function
        for function in (value, percent, text.confidence, points, chance)
    },
}
