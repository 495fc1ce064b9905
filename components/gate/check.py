"""The results of a gate: each check passes, fails (`GateRefused`), or cannot be made.

`NotChecked` says nothing about the model or the data, so no cache may keep it as a result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.host.errors import UserError

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"


@dataclasses.dataclass(frozen=True)
class Check:
    """A condition for a release, and whether it holds.

    Attributes:
      name: stable and dotted, such as "floor", "class.7" or "data.overlap".
      actual: the value found; None if there is nothing to measure.
      required: the bound or value with which `actual` was compared; None if there is none.
      sentence: for people, with a remedy if the check failed.
    """

    name: str
    passed: bool
    actual: float | str | None
    required: float | str | None
    sentence: str

    @classmethod
    def of(
        cls,
        name: str,
        passed: bool,
        actual: float | str | None,
        required: float | str | None,
        *,
        start: str = "",
        good: str = "",
        bad: str,
    ) -> Check:
        """Makes a check whose sentence continues with `good` if it passed, else with `bad`."""
        return cls(name, passed, actual, required, start + (good if passed else bad))

    @property
    def result(self) -> str:
        """`PASSED`, `FAILED`, or `NOT_JUDGED` where nothing was there to hold to the bound.

        What is not judged passes: it does not stop a release.
        """
        if not self.passed:
            return FAILED
        return NOT_JUDGED if self.actual is None and self.required is not None else PASSED

    @property
    def kind(self) -> str:
        """The first part of the name, such as "class" of "class.7"."""
        return self.name.partition(".")[0]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Check:
        return cls(**fields)


class GateRefused(Exception):
    """A gate refused the data or the model, so the run ends; the failed `checks` come first.

    `shown` is what people may look at, which the gate's artifact would hold if it had passed.
    """

    def __init__(self, checks: Sequence[Check], shown: object = None) -> None:
        self.checks = tuple(sorted(checks, key=lambda check: check.passed))
        self.shown = shown
        # Exactly the constructor's arguments, so that the exception survives pickling.
        super().__init__(self.checks, shown)

    def __str__(self) -> str:
        failed = [check.sentence for check in self.checks if not check.passed]
        return f"refused, {len(failed)} of {len(self.checks)} checks failed: " + "; ".join(failed)


class NotChecked(UserError):
    """A check could not be made; one line: what was tried, why it did not work, and the remedy."""


def passed(checks: Sequence[Check]) -> bool:
    """Tells whether all checks passed; an empty list proves nothing and does not pass."""
    return bool(checks) and all(check.passed for check in checks)
