"""Files that a command writes beside its output: refused before it begins, if they cannot be."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from components.gate.check import Check
from pipeline import ci_report
from pipeline.cli import output
from pipeline.cli.command import option
from pipeline.cli.option_types import WRITTEN_FILE
from pipeline.config import ConfigError
from trainer.host import paths
from trainer.host.files import status_of, write_durably
from trainer.host.text import first_line

_CHECKS = "the checks"


def require_writable(flag: str, what: str, file: Path) -> None:
    """Refuses a file that `write_durably` could not write in the end.

    It takes the place of the former file. So that must be a regular one: a device, such as
    /dev/stdout, would be gone for all.
    """
    try:
        former = status_of(file)
    except PermissionError as error:
        raise ConfigError(
            f"cannot save {what} to {file}, which cannot be read ({error.strerror}): choose "
            f"another {flag}"
        ) from None
    folder = os.path.dirname(os.path.realpath(file))
    if not os.path.isdir(folder) or (former and not stat.S_ISREG(former.st_mode)):
        raise ConfigError(
            f"cannot save {what} to {file}: expected a regular file in an existing directory"
        )
    if former and _is_kept(former, folder):
        raise ConfigError(
            f"cannot save {what} to {file}, which is another user's in a sticky directory: choose "
            f"another {flag}"
        )
    paths.require_no_long_name(flag, os.path.realpath(file))
    if former:
        paths.require_access(flag, file)
    paths.require_writable(flag, folder)


def _is_kept(file: os.stat_result, folder: str) -> bool:
    """Tells whether the folder lets this user write to the file but not replace it (unlink(2))."""
    above = os.stat(folder)
    owners = (0, above.st_uid, file.st_uid)
    return bool(above.st_mode & stat.S_ISVTX) and os.geteuid() not in owners


def written_option(flag: str, text: str, what: str, *names: str, **settings: Any) -> Any:
    """Adds an option that takes the name of a file to which the command writes `what`.

    A file that could not be written is refused before the command begins.
    """

    def require(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
        if file is not None:
            require_writable(flag, what, file)
        return file

    settings = {"type": WRITTEN_FILE, "callback": require, **settings}
    return option(flag, "FILE", text, *names, **settings)


@dataclass
class CiFiles:
    """The files of --junit and --markdown; `title` names what was decided."""

    title: str
    junit: Path | None = None
    markdown: Path | None = None
    written: bool = field(default=False, init=False)

    def write(
        self,
        checks: Sequence[Check],
        *,
        left_out: ci_report.LeftOut = (),
        error: str | None = None,
    ) -> None:
        """Writes each file completely or not at all; the decision stands if one cannot be."""
        self.written = True
        for file, render in ((self.junit, ci_report.junit), (self.markdown, ci_report.markdown)):
            if file is None:
                continue
            try:
                write_durably(file, render(self.title, checks, left_out=left_out, error=error))
            except OSError as failure:
                output.complain(
                    f"the checks cannot be written to {file}: {failure.strerror}; the decision "
                    "stands"
                )


def options(title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --junit and --markdown; the function takes them as `ci_files`.

    An error that ends it before they are written is written to them.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @written_option("--junit", "Write the checks as JUnit XML, for a CI's report.", _CHECKS)
        @written_option("--markdown", "Write the checks as a Markdown table.", _CHECKS)
        @functools.wraps(function)
        def with_files(*args: Any, junit: Path | None, markdown: Path | None, **values: Any) -> Any:
            files = CiFiles(title, junit, markdown)
            try:
                return function(*args, ci_files=files, **values)
            except Exception as error:
                if not files.written:
                    files.write((), error=first_line(error))
                raise

        return with_files

    return decorate
