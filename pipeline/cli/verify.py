"""`tfx-mnist verify`: whether every version is what was published."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from components.serving_dir import Version, versions
from pipeline.cli import output, serving
from pipeline.cli.command import FAILED, Command


def _execute(options: argparse.Namespace) -> int:
    serving_dir = serving.serving_dir(options)
    present = versions(serving_dir, check_files=True)
    damaged = [version.path.name for version in present if version.problems]
    error = (
        f"damaged versions in {serving_dir}: {', '.join(damaged)}; restore their files, or roll "
        "back and prune"
        if damaged
        else None
    )
    fields = {
        "serving_dir": str(serving_dir),
        "versions": [_describe(version) for version in present],
        "error": error,
    }
    if not options.json:
        output.say([f"serving directory: {serving_dir}", *_lines(present)])
    if error:
        return output.fail(error, FAILED, fields if options.json else None)
    if options.json:
        output.say_json(fields)
    return 0


def _describe(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "path": str(version.path),
        "valid": not version.problems,
        "problems": list(version.problems),
    }


def _lines(present: Sequence[Version]) -> Iterator[str]:
    if not present:
        yield "no version yet"
    for version in present:
        yield f"version {version.number}: {'damaged' if version.problems else 'valid'}"
        yield from (f"  {problem}" for problem in version.problems)


COMMAND = Command(
    name="verify",
    help="check every version's files against its manifest",
    description="Reads every file of every version, and compares it with the SHA-256 that the "
    "version's\nmanifest has of it.",
    add_options=serving.add_options,
    execute=_execute,
    exit_codes={
        0: "all files of all versions match",
        1: "a version is damaged, or the serving directory cannot be read",
        2: "usage, or there is no such serving directory",
    },
)
