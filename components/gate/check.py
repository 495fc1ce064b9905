"""What every gate says: checks with names, answers and sentences.

Synopsis::

    check = Check("data.overlap", passed=False, actual=0.02, required=0.01, sentence="test: ...")
    raise Refused([check])
    raise NotChecked("the server ended with SIGKILL: free memory, and run again")

A check passes, fails, or cannot be made. `NotChecked` is the third: it says nothing about what was
to be checked, so it is no refusal, and no result that a cache may keep.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Check:
    """One question that a gate asks, with its answer.

    Attributes:
      name: stable and dotted, such as "accuracy", "class.7" or "data.overlap".
      passed: the answer.
      actual: what was found, in the unit of the check; None where there is nothing to measure.
      required: the bound or value it was held against; None where none applies.
      sentence: the same for a person, with numbers and, when it failed, a remedy.
    """

    name: str
    passed: bool
    actual: float | str | None
    required: float | str | None
    sentence: str

    @property
    def kind(self) -> str:
        """What the name begins with, such as "class" of "class.7"."""
        return self.name.partition(".")[0]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Check:
        return cls(**fields)


class Refused(Exception):
    """A gate said no, so that nothing more is to be done.

    Attributes:
      checks: all that were made, the failed ones first.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(sorted(checks, key=lambda check: check.passed))
        # Exactly the constructor's arguments, so that the exception survives pickling.
        super().__init__(self.checks)

    def __str__(self) -> str:
        failed = [check.sentence for check in self.checks if not check.passed]
        return f"refused, {len(failed)} of {len(self.checks)} checks failed: " + "; ".join(failed)


class NotChecked(Exception):
    """A check could not be made; one line: what was tried, why it did not work, and the remedy."""


def passed(checks: Sequence[Check]) -> bool:
    """Whether all of them passed; an empty list proves nothing and does not pass."""
    return bool(checks) and all(check.passed for check in checks)
