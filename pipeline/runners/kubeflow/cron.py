"""When a schedule starts runs, as the backend reads it (robfig/cron 1.2, parser.go).

Synopsis::

    require("0 0 2 * * mon-fri")
    require("@daily")
    require("0 0 24 * * *")       # ValueError: hours from 0 to 23, not '24'
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.host.text import quoted

_RANGE = re.compile(r"([*?]|(?P<first>\w+)(-(?P<last>\w+))?)(/[1-9][0-9]*)?")
_WORDS = ("@annually", "@yearly", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every ([0-9]+(\.[0-9]+)?[hms])+")


@dataclass(frozen=True)
class _Field:
    """One of the six; `names` stand for its numbers from `least` on."""

    name: str
    least: int
    greatest: int
    names: tuple[str, ...] = ()

    def reads(self, text: str) -> bool:
        return all(map(self._reads_range, text.split(",")))

    def _reads_range(self, text: str) -> bool:
        match = _RANGE.fullmatch(text)
        if match is None:
            return False
        if match["first"] is None:
            return True
        first = self._number(match["first"])
        return self.least <= first <= self._number(match["last"] or match["first"]) <= self.greatest

    def _number(self, text: str) -> int:
        """Below `least` for what is none."""
        if text.lower() in self.names:
            return self.least + self.names.index(text.lower())
        return int(text) if re.fullmatch("[0-9]+", text) else self.least - 1


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = (
    _Field("seconds", 0, 59),
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("days of the month", 1, 31),
    _Field("months", 1, 12, _MONTHS),
    _Field("days of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def require(text: str) -> None:
    """Refuses what the backend would.

    Raises:
      ValueError: it does; the message says what is expected.
    """
    if text in _WORDS or _EVERY.fullmatch(text):
        return
    given = text.split()
    if len(given) != len(_FIELDS):
        raise ValueError(
            "six fields, seconds first, such as '0 0 2 * * *', or one of "
            f"{', '.join(_WORDS)}, @every 6h"
        )
    for field, part in zip(_FIELDS, given, strict=True):
        if not field.reads(part):
            raise ValueError(
                f"{field.name} from {field.least} to {field.greatest}, not {quoted(part)}"
            )
