"""`tfx-mnist verify`: checks that every version is what was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from components.serving_dir import Version, versions
from pipeline.cli import output, serving
from pipeline.cli.command import Command
from pipeline.result import ExitCode


@click.command(
    cls=Command,
    exit_codes={
        ExitCode.DONE: "all files of all versions match",
        ExitCode.FAILED: "a version is damaged, or the serving directory cannot be read",
        ExitCode.USAGE: "usage, or there is no such serving directory",
    },
)
@serving.options
def verify(directory: Path, as_json: bool) -> int:
    """Checks every version's files against its manifest.

    Reads every file of every version and compares its SHA-256 with the manifest of the version.
    """
    present = versions(directory, check_files=True)
    fields = {
        "serving_dir": str(directory),
        "versions": [
            {
                "version": version.number,
                "path": str(version.path),
                "valid": not version.problems,
                "problems": list(version.problems),
            }
            for version in present
        ],
    }
    lines = [f"serving directory: {directory}", *_lines(present)]
    damaged = [version.path.name for version in present if version.problems]
    if not damaged:
        output.answer(fields, lines, as_json=as_json)
        return ExitCode.DONE
    error = (
        f"damaged versions in {directory}: {', '.join(damaged)}; restore their files, or roll back "
        "and prune"
    )
    if not as_json:
        output.say(lines)
    return output.fail(error, ExitCode.FAILED, {**fields, "error": error} if as_json else None)


def _lines(present: Sequence[Version]) -> Iterator[str]:
    if not present:
        yield "no version yet"
    for version in present:
        yield f"version {version.number}: {'damaged' if version.problems else 'valid'}"
        yield from (f"  {problem}" for problem in version.problems)
