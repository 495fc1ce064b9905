"""Tables by name that other distributions can extend: architectures, data sources, gate checks.

A plugin is a distribution with an entry point of the group `tfx_mnist`, which names a module that
adds to the tables when it is imported (example: CONTRIBUTING.md). All plugins are imported when a
table is first listed, or first asked for a name that it does not have. So every process, worker and
container in which the plugin is installed finds the same entries.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TypeVar

from trainer.host.errors import UserError
from trainer.host.text import one_line

GROUP = "tfx_mnist"

T = TypeVar("T")


class PluginError(UserError, ValueError):
    """A plugin could not be imported; the message is one line for the user."""


class Registry(Mapping[str, T]):
    """Entries by name in the order of `add`, the product's own before those of plugins.

    Every read may raise `PluginError`, except that of an entry which is already in the table.
    """

    def __init__(self, kind: str) -> None:
        """`kind` names an entry in messages: "architecture"."""
        self._kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Adds an entry; raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"the {self._kind} {name!r} exists already: choose another name")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        return (self._entries if name in self._entries else self._with_plugins())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._with_plugins())

    def __len__(self) -> int:
        return len(self._with_plugins())

    def _with_plugins(self) -> dict[str, T]:
        if error := _import_plugins():
            raise PluginError(error)
        return self._entries


def plugin_modules() -> tuple[str, ...]:
    """Returns the names of the plugins' modules, sorted, without importing them."""
    return tuple(sorted({module for _, module in _entry_points()}))


def _entry_points() -> list[tuple[str, str]]:
    from importlib.metadata import entry_points  # takes 40 ms, and not every process reads a table

    found = entry_points(group=GROUP)
    return sorted({(point.dist.name if point.dist else "?", point.module) for point in found})


@functools.cache
def _import_plugins() -> str:
    """Imports all plugins; returns the line about the first that fails, or an empty one.

    A plugin that reads a table while it is imported calls this again: Python imports nothing twice.
    """
    from importlib import import_module

    for distribution, module in _entry_points():
        try:
            import_module(module)
        except Exception as error:
            return (
                f"the plugin {distribution} cannot be used, as its module {module} cannot be "
                f"imported ({one_line(error)}): repair or uninstall {distribution}"
            )
    return ""
