"""Who watches a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Observer(Protocol):
    """Whoever shows how a run goes."""

    def planned(self, names: Sequence[str]) -> None:
        """All components, in the order in which they will run."""

    def note(self, text: str) -> None:
        """Something that a person who watches should know: one line."""

    def component_started(self, name: str) -> None:
        """The component begins."""

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        """The component has ended well, after `seconds` of wall time."""
