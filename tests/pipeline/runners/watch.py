"""Observers of a run for tests."""

import os
from pathlib import Path


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
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        parent = stat.rpartition(")")[2].split()[1]
        if int(parent) == os.getpid() and module.encode() in words:
            found.append(pid)
    return found
