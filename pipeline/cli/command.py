"""What click does not do: our exit codes, `--json` everywhere, one-line errors, types of options.

Synopsis::

    @click.command(cls=Command, exit_codes={ExitCode.DONE: "removed"})
    @click.option("--keep", type=Whole(1), required=True)
    def prune(keep: int, as_json: bool) -> int:
        # Its docstring is the help; the first sentence stands in the list of commands.

    top = Group("tfx-mnist", "the program", {"prune": "pipeline.cli.prune:prune"})
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline.cli import output
from pipeline.result import ExitCode
from trainer.host import paths
from trainer.host.text import quoted, unknown

_MOST_DIGITS = 18  # of an int64; Python refuses to read more than 4,300
_BY_SIGNALS = {
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated by SIGTERM, within 10 s",
}


class CommandError(Exception):
    """A command that cannot do what it was asked; the message is one line for the user."""

    exit_code = ExitCode.FAILED


class UsageError(CommandError):
    """Words that make no command, or that name something that is not there."""

    exit_code = ExitCode.USAGE


class _WithExitCodes(click.Command):
    """A command whose help ends with its exit codes."""

    def __init__(self, *args: Any, exit_codes: Mapping[ExitCode, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.exit_codes = {**exit_codes, **_BY_SIGNALS} if exit_codes else {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.exit_codes:
            with formatter.section("Exit codes"):
                formatter.write_dl(
                    [(str(int(code)), text) for code, text in self.exit_codes.items()]
                )


class Command(_WithExitCodes):
    """Something that the program can do; its function takes `as_json` and returns the exit code.

    Attributes:
      exit_codes: what each means, for the help.
      shows: whether what it prints is all that it is for, with these parameters, so that it has
        failed when that cannot be written; another one's exit code says what was done or decided.
      error_object: what `--json` prints in place of a result, by the line of the error.
      after_a_signal: what is said behind "interrupted" or "terminated".
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
        text = "Print one JSON object on stdout, all else on stderr."
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help=text))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        if rest and not ctx.resilient_parsing:
            takes_any = any(isinstance(one, click.Argument) for one in self.params)
            hint = "" if takes_any else ": values follow an option"
            raise click.UsageError(f"unexpected argument {quoted(rest[0])}{hint}", ctx)
        return rest

    def invoke(self, ctx: click.Context) -> int:
        return output.end(super().invoke(ctx), shows=self.shows(ctx.params))


class Group(_WithExitCodes, click.Group):
    """Commands and groups below one word, each imported when it is asked for.

    Args:
      name: the word.
      help: one line.
      members: groups, and commands by where they are, such as "pipeline.cli.run:run"; in the order
        of the help.
      exit_codes: as those of a command; none where each command says so itself.
      settings: those of `click.Group`.
    """

    def __init__(
        self,
        name: str,
        help: str,
        members: Mapping[str, str | Group],
        exit_codes: Mapping[ExitCode, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name, help=help, exit_codes=exit_codes or {}, **settings)
        self.members = members

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | Group | None:
        member = self.members.get(cmd_name)
        if not isinstance(member, str):
            return member
        module, _, attribute = member.partition(":")
        found: Command = getattr(importlib.import_module(module), attribute)
        return found

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


def chosen(top: Group, words: Sequence[str]) -> Command | None:
    """The command that the first words name; None where they name none."""
    member: Command | Group | None = top
    ctx = click.Context(top)
    for word in words:
        if not isinstance(member, Group):
            break
        member = member.get_command(ctx, word)
    return member if isinstance(member, Command) else None


def usage_line(error: click.UsageError) -> str:
    """The line for words that click refuses."""
    ctx = error.ctx
    see = f"; see {ctx.command_path} --help" if ctx else ""
    if isinstance(error, click.NoSuchOption) and ctx:
        return _no_such_option(error.option_name, ctx, see)
    if isinstance(error, click.MissingParameter) and error.param:
        return f"{_name(error.param)} is missing{see}"
    if isinstance(error, click.BadParameter) and error.param:
        return f"{_name(error.param)} {error.message}{see}"
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}{see}"


def _no_such_option(flag: str, ctx: click.Context, see: str) -> str:
    if isinstance(ctx.command, Group):
        members = [ctx.command.get_command(ctx, name) for name in ctx.command.members]
        if any(flag in one.opts for member in members if member for one in member.params):
            return f"{flag} stands before the command, expected after it"
    known = [name for param in ctx.command.get_params(ctx) for name in param.opts if name[0] == "-"]
    (near,) = difflib.get_close_matches(flag, known, n=1, cutoff=0.0)
    return f"unknown option {quoted(flag)}: did you mean {near!r}?{see.replace(';', '')}"


def _name(param: click.Parameter) -> str:
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.make_metavar(click.Context(click.Command(None))).strip("[].")


class Whole(click.ParamType):
    """A whole number from `least` on, of 64 bits at most."""

    name = "whole number"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):  # a default
            return value
        if not value.isdecimal() or len(value) > _MOST_DIGITS or int(value) < self.least:
            most = f", of {_MOST_DIGITS} digits at most" if len(value) > _MOST_DIGITS else ""
            text = f"is {quoted(value)}, expected a whole number, {self.least} or more{most}"
            self.fail(text, param, ctx)
        return int(value)


class LocalPath(click.ParamType):
    """A file or directory of this machine; `~` stands for the home directory."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        try:
            return Path(paths.expanded(str(value)))
        except ValueError as error:
            self.fail(f"is {quoted(value)}, expected {error}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leaves it to the shell."""
        return [CompletionItem(incomplete, type="file")]


LOCAL_PATH = LocalPath()

verbose = click.option("-v", "--verbose", is_flag=True, help="Show the libraries' logs on stderr.")
