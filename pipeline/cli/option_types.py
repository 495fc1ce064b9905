"""Types of options and arguments, which read a text or say in one line what they expect.

Synopsis::

    @option("--keep", "N", "How many versions stay.", type=whole(1), required=True)
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from trainer.host import paths
from trainer.host.text import quoted

_PATHS = f"{__name__}.paths"  # in a context's meta: who gave each path so far
_MOST_DIGITS = 18  # of an int64; Python refuses to read more than 4,300


class Read(click.ParamType):
    """The type of a value that a function reads; its ValueError says what is expected."""

    name = "value"

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):  # a default
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(f"is {quoted(value)}, expected {error}", param, ctx)


def matching(pattern: str, expected: str) -> Read:
    """The type of a text that matches a regular expression."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return Read(read)


def pair(expected: str) -> Read:
    """The type of two texts with "=" between them."""

    def read(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(expected)
        return name, value

    return Read(read)


def whole(least: int, most: int | None = None) -> Read:
    """The type of a whole number from `least` to `most`, or to 18 digits."""

    def read(text: str) -> int:
        known = text.isdecimal() and len(text) <= _MOST_DIGITS
        if known and least <= int(text) <= (int(text) if most is None else most):
            return int(text)
        if most is not None:
            raise ValueError(f"a whole number from {least} to {most:,}")
        ends = f", of {_MOST_DIGITS} digits at most" if len(text) > _MOST_DIGITS else ""
        raise ValueError(f"a whole number, {least} or more{ends}")

    return Read(read)


def _fraction(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.0 <= float(text) <= 1.0:
            return float(text)
    raise ValueError("a number from 0 to 1")


FRACTION = Read(_fraction)


SOME_TEXT = matching(r"(?s).*\S.*", "some text")  # a name or a reason


def keep_apart(
    path: str | Path,
    param: click.Parameter,
    ctx: click.Context,
    *,
    written: bool = False,
    key: str = "",
) -> None:
    """Refuses a path that another parameter has too, if either of them is written to.

    Args:
      key: the configuration's key that is set to the path, if the parameter may set several keys.
    """
    given = ctx.meta.setdefault(_PATHS, {}).setdefault(os.path.realpath(path), [])
    for other, of, is_written in given:
        if (is_written or written) and other is not param:
            said = f"has the {key}" if key else "is"
            said += f" {quoted(str(path))}, expected another file than that of {of}"
            raise click.BadParameter(said, ctx, param)
    flag = param.opts[0] if isinstance(param, click.Option) else param.metavar
    given.append((param, f"{key} in {flag}" if key else flag, written))


class _LocalPath(Read):
    """A file or directory of this machine; `~` stands for the home directory.

    One that is `written` has to be another one than those of all other options and arguments.
    """

    def __init__(self, *, written: bool = False) -> None:
        super().__init__(lambda text: Path(paths.expanded(text)))
        self.written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if param is not None and ctx is not None:
            keep_apart(path, param, ctx, written=self.written)
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]  # the shell does it


LOCAL_PATH, WRITTEN_FILE = _LocalPath(), _LocalPath(written=True)
