"""The observer of a run: a display on the terminal, or a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trainer.progress import Progress


class Observer(Protocol):
    """Shows how a run goes on."""

    def planned(self, names: Sequence[str]) -> None:
        """Receives all components, in the order in which they will run."""

    def note(self, text: str) -> None:
        """Receives a line for people."""

    def component_started(self, name: str) -> None:
        """A component has started."""

    def trained(self, state: Progress) -> None:
        """The training of the running component has made progress."""

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        """A component has ended well, after `seconds` of wall time."""
