r"""Makes text of others fit to be shown: file names, records, messages of libraries.

Synopsis::

    printable("up\x1b[1A\n")     # r"up\x1b[1A\n": no character that a terminal obeys
    quoted("9" * 5_000)          # "'9999...9999'", 80 characters
    listed(range(300))           # "0, 1, 2, ..., 19 and 280 more"
    one_line(ValueError("a\nb"))  # "ValueError: a b"
    apart(0.98996, 0.99)         # ("0.98996", "0.99000")
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence

_MOST = 80  # characters of a quoted value
_MOST_NAMED = 20
_LONGEST_ERROR = 300  # characters
_LONGEST_LINE = 500  # characters of somebody else's message
_OUR_PACKAGES = ("components", "pipeline", "trainer")
# Lines with which TensorFlow says where an operation was defined, and gRPC which call it was,
# before they say what went wrong.
_WHERE = re.compile(
    r"([\w.]+: )*Graph execution error:|\d+ root error\(s\) found|Detected at node "
    r'|<stack traces |File "|<\w+ of RPC that terminated with:|status = StatusCode\.'
)
# All tracebacks up to the frames of the last one: of an error in a worker, which is Beam's text.
_TRACEBACKS = re.compile(r"\A(?s:.*)Traceback \(most recent call last\):\n(?:[ \t].*\n)*")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = _MOST


def printable(text: str, *, keep: str = "") -> str:
    r"""Escapes each character that is not printable, such as `\x1b`, unless it is in `keep`.

    Not printable are control characters, line breaks, marks of writing direction, invisible
    characters, spaces other than U+0020, and bytes of a file name that are not text.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def quoted(value: object) -> str:
    """Returns the value's `repr` for an error message, shortened in the middle to 80 characters."""
    return _short.repr(value)


def listed(names: Sequence[object]) -> str:
    """Returns names for a message, the first 20 of many."""
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(map(str, names[:_MOST_NAMED])) or "none") + more


def one_line(error: BaseException) -> str:
    """Returns type and text of a library's error in one line of at most 300 characters."""
    text = f"{type(error).__name__}: {' '.join(_lines(error))}"
    return " ".join(text.split())[:_LONGEST_ERROR]


def first_line(error: BaseException) -> str:
    """Returns an error's first line, after its type unless it is ours and written for the user."""
    lines = _lines(error)
    if is_ours(error) and lines:
        return lines[0]
    return ": ".join([type(error).__name__, *(line[:_LONGEST_LINE] for line in lines[:1])])


def is_ours(error: BaseException) -> bool:
    """Tells whether an error's text is written for the user."""
    return type(error).__module__.partition(".")[0] in _OUR_PACKAGES


def _lines(error: BaseException) -> list[str]:
    text = _TRACEBACKS.sub("", str(error)) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [line for line in lines if not _WHERE.match(line)] or lines


def is_port(text: str) -> bool:
    """Whether a text is the number of a port, 1 to 65535."""
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 0 < int(text) < 1 << 16


def size(bytes_: int) -> str:
    """Returns a size for people: "812 bytes", "4.2 MB"."""
    value, units = float(bytes_), ["kB", "MB", "GB", "TB"]
    if value < 1000:
        return f"{bytes_} bytes"
    while value >= 999.95 and units:
        value, unit = value / 1000, units.pop(0)
    return f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Returns a duration for people: "0.4 s", "42 s", "3 min 05 s", "2 h 07 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(fraction: float, digits: int = 2) -> str:
    """Returns a fraction as percent: 0.9917 is "99.17 %"."""
    return f"{fraction * 100:.{digits}f} %"


def confidence(fraction: float) -> str:
    """Returns a confidence as percent, with the digits that tell it from certainty: "99.9958 %"."""
    error = 100.0 * (1.0 - fraction)
    rounded = round(error, 2) if error >= 1.0 else float(f"{error:.2g}")
    return f"{100.0 - rounded:.15g} %"


def p_value(p: float) -> str:
    """Returns "p = 0.026", or "p < 1e-16": a smaller one may be 0 by rounding alone."""
    return f"p = {p:.2g}" if p >= 1e-16 else "p < 1e-16"


def apart(value: float, bound: float) -> tuple[str, str]:
    """Returns both with four decimals, or with as many more as tell them apart if they differ."""
    digits = 4
    while value != bound and digits < 17 and f"{value:.{digits}f}" == f"{bound:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f}", f"{bound:.{digits}f}"


def unknown(what: str, given: str, known: Iterable[str], *, see: str = "") -> str:
    """Returns the line for a name that does not exist, with one that is much like it.

    Args:
      what: the kind of name: "preset".
      given: the name.
      known: the names that exist.
      see: what the line ends with instead of all known names, where these are many.
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {quoted(given)}: {hint}{see or 'known are ' + ', '.join(names)}"
