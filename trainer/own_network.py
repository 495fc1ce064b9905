"""A network of the user's: a function in a file, or in a module that is installed.

`training.architecture` names it, as `net.py:build` or `package.module:build`. This is `net.py`::

    from typing import Literal

    import keras


    def build(image_shape, num_classes, hparams, *, units: Literal[32, 64, 128] = 64):
        image = keras.Input(image_shape)  # [B, H, W, C] float32, zero mean and unit variance
        x = keras.layers.Flatten()(image)
        x = keras.layers.Dense(units, activation="relu")(x)
        return keras.Model(image, keras.layers.Dense(num_classes)(x))  # logits

Its keyword-only parameters with a default are hyper-parameters, `training.extra.units`. They are
read from the source, so neither the module nor Keras is imported to check a configuration. The
source of a file travels with the hyper-parameters, so that no other machine needs the file.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.host import paths
from trainer.host.errors import Refusal
from trainer.host.files import read_regular
from trainer.host.text import one_line, quoted
from trainer.hparams import HyperParameter

SOURCE = "architecture"  # the key of the source text in `HParams.found`

COPY = "assets.extra/network.py"  # of the source, in a SavedModel

_MAX_BYTES = 1 << 16  # of the source: it stands in parameters of components, also in the cluster
_MODULE = "trainer_own_network"  # the name under which a file is executed
_KINDS = (bool, int, float, str)


class NetworkError(Refusal, ValueError):
    """The function cannot be used; the message is one line for the user."""

    def __init__(self, architecture: str, reason: str, remedy: str = "") -> None:
        remedy = f": {remedy}" if remedy else ""
        super().__init__(f"training.architecture is {quoted(architecture)}, and {reason}{remedy}")


def is_own(architecture: str) -> bool:
    """Tells whether the text names a function, and no entry of `ARCHITECTURES`."""
    return ":" in architecture


def is_file(architecture: str) -> bool:
    """Tells whether the text names a function in a file, and not in a module."""
    return _split(architecture)[0].endswith(".py")


def module_of(architecture: str) -> str | None:
    """Returns the name of the module, or None for a file and for an entry of the table."""
    named = is_own(architecture) and not is_file(architecture)
    return _split(architecture)[0] if named else None


def _split(architecture: str) -> tuple[str, str]:
    place, _, function = architecture.rpartition(":")
    return place, function


def read_source(architecture: str) -> str:
    """Returns the text of the file that holds the function; raises NetworkError."""
    place, _ = _split(architecture)
    try:
        file = Path(paths.expanded(place)) if is_file(architecture) else _file_of(place)
        text = read_regular(file, max_bytes=_MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NetworkError(
            architecture,
            f"its source cannot be read ({reason})",
            "give the path of a Python file, or a module that is installed",
        ) from None
    parameters(architecture, text)
    return text


def _file_of(module: str) -> Path:
    """Finds the file of a module without importing it."""
    top, *rest = module.split(".")
    if not all(map(str.isidentifier, (top, *rest))):
        raise ValueError(f"{module!r} is no name of a module")
    spec = importlib.util.find_spec(top)
    folders = spec.submodule_search_locations if spec else None
    places = [Path(folder, *rest) for folder in folders or ()]
    files = [file for one in places for file in (one / "__init__.py", one.with_suffix(".py"))]
    if spec and spec.origin and not rest:
        files = [Path(spec.origin)]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise ValueError(f"no module {module}")
    return found


def parameters(architecture: str, source: str) -> dict[str, HyperParameter]:
    """Returns the function's own hyper-parameters by name; raises NetworkError."""
    place, function = _split(architecture)
    try:
        tree = ast.parse(source, place)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # nested too deeply
        raise NetworkError(architecture, f"it is no Python ({one_line(error)})") from None
    defined = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    if not defined:
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        known = f"it defines {', '.join(names[:10])}" if names else "it defines none"
        raise NetworkError(architecture, f"{place} defines no such function", known)
    given = defined[-1].args
    found = {}
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        value = _literal(default)
        if type(value) not in _KINDS:
            raise NetworkError(
                architecture,
                f"its parameter {argument.arg} has no default that is a number, a text, True or "
                "False",
                "write the default into the function's head",
            )
        choices = _choices(argument.annotation)
        if choices and value not in choices:
            raise NetworkError(
                architecture, f"the default of {argument.arg} is none of its choices"
            )
        text = f"hyper-parameter of {function}"
        found[argument.arg] = HyperParameter(text, value, type(value), choices)
    return found


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError):  # such as a set of lists
        return None


def _choices(annotation: ast.expr | None) -> tuple[Any, ...]:
    """Returns the values of `Literal[...]`, and none for other annotations."""
    if not isinstance(annotation, ast.Subscript):
        return ()
    name = annotation.value
    if (name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")) != "Literal":
        return ()
    values = _literal(annotation.slice)
    return values if isinstance(values, tuple) else (values,)


def load(architecture: str, source: str) -> Callable[..., Any]:
    """Imports the module, or executes the source of the file, and returns the function.

    Raises NetworkError, also for a module whose source is another one by now.
    """
    place, name = _split(architecture)
    try:
        module: Any = (
            _executed(place, source) if is_file(architecture) else importlib.import_module(place)
        )
        function: Callable[..., Any] = getattr(module, name)
    except (Exception, SystemExit) as error:
        reason = f"it cannot be imported ({one_line(error)})"
        remedy = "a file may import installed packages only" if is_file(architecture) else ""
        raise NetworkError(architecture, reason, remedy) from error
    if not is_file(architecture) and read_source(architecture) != source:  # of which keys were made
        raise NetworkError(architecture, "its source has changed since the run began", "run again")
    return function


@functools.lru_cache(maxsize=1)
def _executed(place: str, source: str) -> types.ModuleType:
    module = types.ModuleType(_MODULE)
    module.__file__ = place
    sys.modules[_MODULE] = module  # where dataclasses and pickle look
    exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)
    return module


def write_copy(found: Mapping[str, str], export_dir: str) -> None:
    """Writes the source, if there is one, beside a SavedModel, where a server ignores it."""
    if source := found.get(SOURCE):
        file = Path(export_dir, COPY)
        file.parent.mkdir(exist_ok=True)
        file.write_text(source, encoding="utf-8")
