"""Observers of a run for tests."""

import contextlib

import psutil

from tests.waiting import wait_until


class Watch:
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.started: list[str] = []
        self.finished: dict[str, bool] = {}
        self.notes: list[str] = []

    def planned(self, names) -> None:
        self.names = list(names)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def component_started(self, name: str) -> None:
        self.started.append(name)

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        assert seconds >= 0.0
        self.finished[name] = cached


class Looking(Watch):
    """Looks for children that run a module when a component begins."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module
        self.children: dict[str, list[int]] = {}

    def component_started(self, name: str) -> None:
        super().component_started(name)
        self.children[name] = children_running(self.module)


def children_running(module: str) -> list[int]:
    """The numbers of this process's children that run a module."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
            # On a busy machine a process that has begun has no command line for a moment.
            wait_until(child.cmdline)
            if module in child.cmdline():
                found.append(child.pid)
    return found
