"""Digests of the code that each component runs, by which TFX's cache notices a change.

Versions of libraries count for every component.

A digest covers our modules that the component's entry modules import, at any depth and also inside
functions, and their packages. It covers modules that a text names, as after `python -m`, and, where
a registry is read, the installed plugins with what they import of their own top-level package.
Imports for the type checker only do not count; comments do, because files are digested byte by
byte. Sources are parsed, not imported, so an editable install, a wheel and a container agree.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainer.host import registry

# What TFX starts for each component. StatisticsGen and ExampleValidator run no code of ours.
COMPONENTS: Mapping[str, Sequence[str]] = {
    "ExampleGen": ["components.example_gen.image_example_gen"],
    "CuratedSchema": ["components.example_gen.schema"],
    "BaselineModel": ["components.baseline_model"],
    "DataGate": ["components.data_gate.data_gate"],
    "Transform": ["trainer.preprocessing"],
    "Tuner": ["components.tuner.tuner", "trainer.tuning.tuner_fn"],
    "Trainer": ["trainer.run_fn"],
    "Evaluator": [
        "components.evaluation.gate_metrics",
        "components.evaluation.slice_extractor",
    ],
    "ReleaseGate": ["components.evaluation.release_gate"],
    "ServingCheck": ["components.serving_check.serving_check"],
    "Pusher": ["components.pusher"],
}

# The components that make the model; the others look at it, or ship it.
MAKERS = ("ExampleGen", "CuratedSchema", "Transform", "Tuner", "Trainer")

_TRAINING = ("Tuner", "Trainer")

_PACKAGES = ("components", "pipeline", "trainer")
_ROOT = Path(__file__).parents[1]  # of our packages


def code_keys(
    root: Path = _ROOT, *, network: str | None = None, libraries: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns a hex SHA-256 over names and contents of the modules of each component.

    Args:
      network: the module of the user's own network, which counts as a plugin does where networks
        are trained.
      libraries: versions by name, which count everywhere.
    """
    own = [network] if network else []
    sources = Sources(root, own)
    versions = json.dumps(libraries or {}, sort_keys=True)
    return {
        name: sources.digest([*entries, *(own if name in _TRAINING else ())], versions)
        for name, entries in COMPONENTS.items()
    }


class Sources:
    """The sources of our packages, of plugins and of `own` modules, each read once."""

    def __init__(self, root: Path = _ROOT, own: Sequence[str] = ()) -> None:
        self._root = root
        self._plugins = registry.plugin_modules()
        self._roots = dict.fromkeys(_PACKAGES, root) | _roots_of([*self._plugins, *own])
        self._contents: dict[str, bytes] = {}
        self._imported: dict[str, frozenset[str]] = {}

    def digest(self, entries: Sequence[str], versions: str) -> str:
        digest = hashlib.sha256(versions.encode())
        for module in self.closure(entries):
            digest.update(f"{module}\0".encode())
            digest.update(hashlib.sha256(self._contents[module]).digest())
        return digest.hexdigest()

    def closure(self, entries: Sequence[str]) -> tuple[str, ...]:
        """Returns the names of our modules that importing `entries` runs, these too, sorted."""
        found: set[str] = set()
        waiting = [name for entry in entries for name in _with_packages(entry)]
        while waiting:
            module = waiting.pop()
            if module not in found:
                found.add(module)
                waiting += self._imports_of(module)
                if module == registry.__name__:
                    waiting += [name for each in self._plugins for name in _with_packages(each)]
        return tuple(sorted(found))

    def _imports_of(self, module: str) -> frozenset[str]:
        if module not in self._imported:
            file = self._file(module)
            if file is None:
                raise ModuleNotFoundError(f"no module {module} in {self._root}")
            content = self._contents[module] = file.read_bytes()
            self._imported[module] = frozenset(
                each
                for name in _names_in(file, content)
                if self._file(name)
                for each in _with_packages(name)
            )
        return self._imported[module]

    def _file(self, module: str) -> Path | None:
        parts = module.split(".")
        if parts[0] not in self._roots or not all(map(str.isidentifier, parts)):
            return None
        place = self._roots[parts[0]].joinpath(*parts)
        files = (place / "__init__.py", place.with_suffix(".py"))
        return next((file for file in files if file.is_file()), None)


def _roots_of(modules: Sequence[str]) -> dict[str, Path]:
    """Finds the directories of the modules' top-level packages without importing these."""
    roots = {}
    for package in {module.partition(".")[0] for module in modules}:
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            roots[package] = Path(spec.submodule_search_locations[0]).parent
        elif spec and spec.origin:
            roots[package] = Path(spec.origin).parent
    return roots


def _with_packages(module: str) -> list[str]:
    """a.b.c gives a, a.b and a.b.c, because importing a module runs the packages above it."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


@functools.cache
def _names_in(file: Path, content: bytes) -> frozenset[str]:
    """Parses a module once in a process: it takes most of the time, and tests make many plans."""
    return frozenset(_names(ast.parse(content, file)))


def _names(tree: ast.AST) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            yield node.value
        if isinstance(node, ast.If) and _is_for_types(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
