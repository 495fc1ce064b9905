"""Who watches a run: a display of the terminal, or a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trainer.progress import Progress


class Observer(Protocol):
    """Whoever shows how a run goes."""

    def planned(self, names: Sequence[str]) -> None:
        """All components, in the order in which they will run."""

    def note(self, text: str) -> None:
        """One line that a person who watches should know."""

    def component_started(self, name: str) -> None:
        """The component begins."""

    def trained(self, state: Progress) -> None:
        """The training that the running component does has come this far."""

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        """The component has ended well, after `seconds` of wall time."""
