"""`tfx-mnist rollback`: makes an older version the live one, and withdraws the one that is."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from components import serving_dir
from components.serving_dir import Version
from pipeline.cli import output, serving
from pipeline.cli.command import Command, Parser, whole_number
from trainer.host.termination import Terminated


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "version",
        metavar="VERSION",
        nargs="?",
        type=whole_number(0),
        help="the version to restore (default: the newest older one that is good: its files match, "
        "it is not withdrawn, and its model is another one than the live one)",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept with the withdrawn one")
    serving.add_options(parser)


def _execute(options: argparse.Namespace) -> int:
    directory = serving.serving_dir(options)
    before = serving_dir.live(directory)
    try:
        done = serving_dir.rollback(directory, options.version, reason=options.reason)
    except (KeyboardInterrupt, Terminated):
        _say_if_done(directory, before)
        raise
    if options.json:
        fields = {**dataclasses.asdict(done), "path": str(done.path), "reason": options.reason}
        output.say_json({"serving_dir": str(directory), **fields, "error": None})
    else:
        output.say(
            [
                f"live: version {done.version} in {done.path}, which restores {done.restores}",
                f"withdrawn: version {done.withdraws}",
            ]
        )
    return 0


def _say_if_done(directory: Path, before: Version | None) -> None:
    """A script that tries again must know that the one rename had happened when a signal came."""
    now = serving_dir.live(directory)
    done = now.manifest.rollback if now and now.manifest else None
    if now and done and before and done.withdraws == before.number:
        output.complain(f"rolled back before that: version {now.number} in {now.path} is live")


COMMAND = Command(
    name="rollback",
    help="make an older version the live one again",
    description="Publishes the files of an older version again as the newest one, which the server "
    "then\nserves, and withdraws the version that was live: neither it nor its model is a "
    "baseline\nany more, nor can it be restored. Both happen at once, or not at all.",
    add_options=_add_options,
    execute=_execute,
    exit_codes={
        0: "rolled back",
        1: "no version is good, the one asked for is not, or failed; nothing was changed, unless "
        "the line says so",
        2: "usage, or there is no such serving directory",
    },
)
