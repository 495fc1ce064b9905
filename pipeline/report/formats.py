"""Filters of the report's template, which format numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

NOTHING = "–"


def value(given: float | str | None) -> str:
    """A value that a check found or requires: a number, a text, or nothing."""
    if given is None:
        return NOTHING
    if isinstance(given, str):
        return given
    return f"{given:.4g}" if isinstance(given, float) else f"{given:,}"


def percent(fraction: float) -> str:
    """Formats a fraction as percent with two digits: 0.9917 is "99.17 %"."""
    return NOTHING if math.isnan(fraction) else f"{fraction * 100:.2f} %"


def level(confidence: float) -> str:
    """Formats a confidence as percent with as many digits as it has: 0.95 is "95 %"."""
    return f"{confidence * 100:.4g} %"


def points(fraction: float | None) -> str:
    """Formats a difference of two fractions in percentage points."""
    return NOTHING if fraction is None or math.isnan(fraction) else f"{fraction * 100:.2f}"


def signed_points(fraction: float) -> str:
    """Formats like `points`, with the sign."""
    return NOTHING if math.isnan(fraction) else f"{fraction * 100:+.2f}"


def chance(probability: float) -> str:
    """A probability in whole percent; "< 1 %" and "> 99 %" keep 0 and 100 for certainty."""
    if 0.0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1.0:
        return "> 99 %"
    return f"{probability * 100:.0f} %"


def count(number: int) -> str:
    """Formats a number with thousands separated."""
    return f"{number:,}"


FILTERS: Mapping[str, Callable[[Any], str]] = {
    function.__name__: function
    for function in (value, percent, level, points, signed_points, chance, count)
}
