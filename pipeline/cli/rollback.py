"""`tfx-mnist rollback`: makes an older version the live one, and withdraws the live one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from components import serving_dir
from components.serving_dir import Version
from pipeline.cli import output, serving
from pipeline.cli.command import Command, Whole
from pipeline.result import ExitCode
from trainer.host.termination import Terminated


@click.command(
    cls=Command,
    exit_codes={
        ExitCode.DONE: "rolled back",
        ExitCode.FAILED: "no version is good, the one asked for is not, or failed; nothing was "
        "changed, unless the line says so",
        ExitCode.USAGE: "usage, or there is no such serving directory",
    },
)
@click.argument("version", metavar="[VERSION]", required=False, type=Whole(0))
@click.option("--reason", metavar="TEXT", default="", help="Kept with the withdrawn version.")
@serving.options
def rollback(directory: Path, version: int | None, reason: str, as_json: bool) -> int:
    """Makes an older version the live one again.

    Publishes the files of VERSION again as the newest version, which the server then serves, and
    withdraws the version that was live: it is never a baseline or restored again, and its model is
    never released again. Both happen at once, or not at all.

    Without VERSION it restores the newest good older version: its files match its manifest, it is
    not withdrawn, and its model differs from the live one.
    """
    before = serving_dir.live(directory)
    try:
        done = serving_dir.rollback(directory, version, reason=reason)
    except (KeyboardInterrupt, Terminated):
        _say_if_done(directory, before)
        raise
    fields = {**dataclasses.asdict(done), "path": str(done.path), "reason": reason}
    lines = [
        f"live: version {done.version} in {done.path}, which restores {done.restores}",
        f"withdrawn: version {done.withdraws}",
    ]
    output.answer({"serving_dir": str(directory), **fields}, lines, as_json=as_json)
    return ExitCode.DONE


def _say_if_done(directory: Path, before: Version | None) -> None:
    """Says that a rollback was done before a signal came, for scripts that would try again."""
    now = serving_dir.live(directory)
    done = now.manifest.rollback if now and now.manifest else None
    if now and done and before and done.withdraws == before.number:
        output.complain(f"rolled back before that: version {now.number} in {now.path} is live")
