"""`tfx-mnist prune`: removes old versions."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

from components import serving_dir
from components.serving_dir import Pruned
from pipeline.cli import output, serving
from pipeline.cli.command import Command, Parser, whole_number


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "--keep",
        metavar="N",
        required=True,
        type=whole_number(1),
        help="how many of the newest versions stay in any case; no fewer than the server loads",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )
    serving.add_options(parser)


def _execute(options: argparse.Namespace) -> int:
    directory = serving.serving_dir(options)
    done = serving_dir.prune(directory, options.keep, dry_run=options.dry_run)
    if options.json:
        output.say_json(
            {
                "serving_dir": str(directory),
                "dry_run": options.dry_run,
                "removed": [
                    {**dataclasses.asdict(removed), "path": str(removed.path)}
                    for removed in done.removed
                ],
                "bytes": done.bytes,
                "left_alone": [
                    {"path": str(other.path), "problems": list(other.problems)}
                    for other in done.left_alone
                ],
                "error": None,
            }
        )
    else:
        output.say(_lines(done, dry_run=options.dry_run))
    return 0


def _lines(done: Pruned, *, dry_run: bool) -> Iterator[str]:
    removed, freed = ("would remove", "would free") if dry_run else ("removed", "freed")
    for old in done.removed:
        yield f"{removed}: version {old.version} in {old.path}, {output.size(old.bytes)}"
    yield f"{freed}: {output.size(done.bytes)}" if done.removed else "nothing to remove"
    for other in done.left_alone:
        yield f"left alone: {other.path} {'; '.join(other.problems)}"


COMMAND = Command(
    name="prune",
    help="remove old versions",
    description="Removes the versions below the newest N. The live one stays, the one that "
    "`rollback` would\nrestore, and what says of a version that is still there that it is "
    "withdrawn. What another\ntool put there is left alone and named.",
    add_options=_add_options,
    execute=_execute,
    shows=lambda options: options.dry_run,
    exit_codes={
        0: "removed, or there was nothing to remove",
        1: "failed, and what is there is complete; or a dry run's list cannot be written",
        2: "usage, or there is no such serving directory",
    },
)
