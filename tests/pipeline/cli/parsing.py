"""What the words of a command line are read as, without doing what they say."""

import click

from pipeline.cli.command import CommandGroup
from pipeline.cli.configuration import Given
from pipeline.cli.main import COMMANDS


def parsed(*words: str) -> click.Context:
    """The context of the command that the first words name."""
    left, ctx = list(words), click.Context(COMMANDS, info_name="tfx-mnist")
    while True:
        name = left.pop(0)
        command = ctx.command.get_command(ctx, name)
        if not isinstance(command, CommandGroup):
            return command.make_context(name, left, parent=ctx)
        ctx = click.Context(command, parent=ctx, info_name=name)


def given(*words: str) -> Given:
    """What the words say about the configuration of a run."""
    return parsed("run", *words).ensure_object(Given)
