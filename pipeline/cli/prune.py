"""`tfx-mnist prune`: removes old versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import click

from components import serving_dir
from components.serving_dir import Pruned
from pipeline.cli import output, serving
from pipeline.cli.command import Command, Whole
from pipeline.result import ExitCode


@click.command(
    cls=Command,
    shows=lambda options: options["dry_run"],
    exit_codes={
        ExitCode.DONE: "removed, or there was nothing to remove",
        ExitCode.FAILED: "failed, and what is there is complete; or a dry run's list cannot be "
        "written",
        ExitCode.USAGE: "usage, or there is no such serving directory",
    },
)
@click.option(
    "--keep",
    metavar="N",
    required=True,
    type=Whole(1),
    help="How many of the newest versions stay in any case; no fewer than the server loads.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@serving.options
def prune(directory: Path, keep: int, dry_run: bool, as_json: bool) -> int:
    """Removes old versions.

    Removes all versions but the newest N. The live version stays, the one that `rollback` would
    restore, and each one that withdrew a version which is still there. Versions of another tool are
    left alone and named.
    """
    done = serving_dir.prune(directory, keep, dry_run=dry_run)
    fields = {
        "serving_dir": str(directory),
        "dry_run": dry_run,
        "removed": [{**dataclasses.asdict(old), "path": str(old.path)} for old in done.removed],
        "bytes": done.bytes,
        "left_alone": [
            {"path": str(other.path), "problems": list(other.problems)} for other in done.left_alone
        ],
    }
    output.answer(fields, _lines(done, dry_run=dry_run), as_json=as_json)
    return ExitCode.DONE


def _lines(done: Pruned, *, dry_run: bool) -> Iterator[str]:
    removed, freed = ("would remove", "would free") if dry_run else ("removed", "freed")
    for old in done.removed:
        yield f"{removed}: version {old.version} in {old.path}, {output.size(old.bytes)}"
    yield f"{freed}: {output.size(done.bytes)}" if done.removed else "nothing to remove"
    for other in done.left_alone:
        yield f"left alone: {other.path} {'; '.join(other.problems)}"
