"""`tfx-mnist config keys`: the keys that `--set` and a configuration file take."""

from __future__ import annotations

import click

from pipeline import config
from pipeline.cli import output
from pipeline.cli.command import Command
from pipeline.result import ExitCode


@click.command(cls=Command, shows=lambda _: True, exit_codes={ExitCode.DONE: "listed"})
def keys(as_json: bool) -> int:
    """Lists every key of --set and of the configuration file."""
    names = ["preset", *config.keys()]
    output.answer({"keys": names}, names, as_json=as_json)
    return ExitCode.DONE
