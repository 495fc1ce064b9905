"""Additions to click: our exit codes, `--json` everywhere, one-line errors.

Synopsis::

    @command(done="removed", failed="a version cannot be removed")
    @option("--keep", "N", "How many versions stay.", type=whole(1), required=True)
    def prune(keep: int) -> Reply:
        # Its docstring is the help; the first sentence stands in the list of commands.
        return Reply({"removed": [1, 2]}, ["removed: versions 1 and 2"])
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from pipeline.cli import output
from pipeline.cli.option_types import LOCAL_PATH
from pipeline.cli.output import Line
from pipeline.result import ExitCode
from trainer.host.errors import Refusal, UserError
from trainer.host.text import quoted, unknown


class CommandError(UserError):
    """The command cannot do its work."""


class UsageError(CommandError, Refusal):
    """The words make no command, or name something that does not exist."""


class Reply(NamedTuple):
    """The result of a command.

    Attributes:
      fields: the object for programs, without its `error`.
      lines: for people.
      errors: a line each for stderr; together they are the object's `error`.
    """

    fields: Mapping[str, Any]
    lines: Iterable[str | Line]
    exit_code: ExitCode = ExitCode.DONE
    errors: Sequence[str] = ()


class _WithExitCodes(click.Command):
    def __init__(self, *args: Any, exit_codes: Mapping[ExitCode, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        by_signals = {
            ExitCode.INTERRUPTED: "interrupted",
            ExitCode.TERMINATED: "terminated by SIGTERM or SIGHUP, within 10 s",
        }
        self.exit_codes = {**exit_codes, **by_signals} if exit_codes else {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.exit_codes:
            with formatter.section("Exit codes"):
                rows = [(str(int(code)), text) for code, text in self.exit_codes.items()]
                formatter.write_dl(rows)


class Command(_WithExitCodes):
    """A command, whose function returns a `Reply` or an exit code.

    Attributes:
      exit_codes: the meaning of each exit code, for the help.
      shows: tells, by the parameters, whether the command only shows something. Then it fails if
        its output cannot be written; otherwise the exit code says what was done or decided.
      error_object: returns what `--json` prints instead of a result, given the line of the error.
      after_a_signal: the text after "interrupted" or "terminated".
    """

    def __init__(
        self,
        *args: Any,
        shows: Callable[[Mapping[str, Any]], bool] = lambda _: False,
        error_object: Callable[[str], Mapping[str, Any]] = lambda line: {"error": line},
        after_a_signal: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(*args, context_settings={"allow_extra_args": True}, **settings)
        self.shows = shows
        self.error_object = error_object
        self.after_a_signal = after_a_signal
        help_ = "Print one JSON object on stdout, all else on stderr."
        json = click.Option(["--json"], is_flag=True, help=help_, expose_value=False)
        json.callback = lambda ctx, param, given: ctx.meta.update({__name__: given})
        self.params.append(json)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = ctx
            raise
        if rest and not ctx.resilient_parsing:
            takes_any = any(isinstance(one, click.Argument) for one in self.params)
            hint = "" if takes_any else ": values follow an option"
            raise click.UsageError(f"unexpected argument {quoted(rest[0])}{hint}", ctx)
        return rest

    def invoke(self, ctx: click.Context) -> int:
        answer = super().invoke(ctx)
        if isinstance(answer, Reply):
            error = "; ".join(answer.errors) or None
            if as_json(ctx):
                output.say_json({**answer.fields, "error": error})
            else:
                output.say(answer.lines)
            for line in answer.errors:
                output.complain(line)
            answer = answer.exit_code
        return output.end(answer, shows=self.shows(ctx.params))


def command(
    name: str | None = None,
    *,
    done: str,
    failed: str,
    usage: str = "usage refused",
    refused: str = "",
    **settings: Any,
) -> Callable[[Callable[..., Reply | int]], Command]:
    """Makes a function a `Command`; done to refused say what its exit codes 0 to 3 mean."""
    exit_codes = {ExitCode.DONE: done, ExitCode.FAILED: failed, ExitCode.USAGE: usage}
    if refused:
        exit_codes[ExitCode.REFUSED] = refused
    return click.command(name, cls=Command, exit_codes=exit_codes, **settings)


def as_json(ctx: click.Context) -> bool:
    """Whether the command line asks for JSON."""
    return bool(ctx.meta[__name__])


class CommandGroup(_WithExitCodes, click.Group):
    """Commands and groups below one word, each of which is imported when it is used.

    Args:
      members: groups, and import paths of commands such as "pipeline.cli.run:run", in the order of
        the help.
      exit_codes: as those of a command; none if each command shows its own.
    """

    def __init__(
        self,
        name: str,
        help: str,
        members: Mapping[str, str | click.Command],
        exit_codes: Mapping[ExitCode, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name, help=help, exit_codes=exit_codes or {}, **settings)
        self.members = members

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        member = self.members.get(cmd_name)
        if isinstance(member, str):
            module, _, attribute = member.partition(":")
            member = getattr(importlib.import_module(module), attribute)
        return member

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            *first, last = self.members
            names = f"{', '.join(first)} or {last}"
            raise click.UsageError(f"no command given, expected {names}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.members and not ctx.resilient_parsing:
            kind = "command" if ctx.parent is None else f"{self.name} command"
            raise UsageError(unknown(kind, args[0], self.members))
        return super().resolve_command(ctx, args)


def option(
    flag: str, metavar: str, text: str, *names: str, **settings: Any
) -> Callable[[Any], Any]:
    """Adds an option with a value; its default, if it has one, stands in the help.

    `names` are further flags, and the parameter of the function if the flag does not name it.
    """
    shown = settings.get("default") not in (None, "")
    return click.option(flag, *names, metavar=metavar, help=text, show_default=shown, **settings)


def path_option(flag: str, metavar: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    """Adds an option that takes a file or directory of this machine."""
    return option(flag, metavar, text, type=LOCAL_PATH, **settings)


verbose = click.option("-v", "--verbose", is_flag=True, help="Show the libraries' logs on stderr.")
