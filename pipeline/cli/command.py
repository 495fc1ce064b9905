"""Commands, groups of commands, and how the words of a command line find one.

Synopsis::

    check = Command("check", "ask the gate", add_options, execute, exit_codes={0: "passed"})
    top = Group("tfx-mnist", "the program", members=(run, Group("gate", "...", members=(check,))))
    chosen = choose(top, ["gate", "check", "--json"])
    exit_code = chosen.command.execute(chosen.options())

Every command takes `--json`. A word that nobody knows is refused with the nearest one that
somebody does, on every level.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pipeline.config import unknown
from trainer.host import paths
from trainer.host.termination import INTERRUPTED, TERMINATED
from trainer.host.text import quoted

PROG = "tfx-mnist"

FAILED = 1
USAGE_ERROR = 2
_MOST_DIGITS = 18  # of an int64; Python refuses to read more than 4,300


class CommandError(Exception):
    """A command that cannot do what it was asked; the message is one line for the user."""

    exit_code = FAILED


class UsageError(CommandError):
    """Words that make no command, or that name something that is not there."""

    exit_code = USAGE_ERROR


class Answered(Exception):
    """`--help` or its like has printed its answer, and there is nothing else to do."""


class _Argument(str):
    """A word behind "--": an argument, also when it begins with a dash."""

    __slots__ = ()


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, and without the usage text in front of every error.

    Attributes:
      takes_dashes: options whose value may begin with dashes; argparse alone would take such a
        value for another option.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )
        self.takes_dashes: set[str] = set()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise Answered

    def options(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words say.

        Raises:
          UsageError: an unknown option (the line names the nearest one), a missing value.
          Answered: it was `--help`.
        """
        joined, behind = self._joined(words), []
        if "--" in joined:
            mark = joined.index("--")
            joined, behind = joined[:mark], [_Argument(word) for word in joined[mark + 1 :]]
        # First of all, since argparse takes the value of an option that it does not know for an
        # argument, and would complain about that one.
        named = (word.partition("=")[0] for word in joined if word.startswith("--"))
        for flag in named:
            if flag not in self.flags():
                raise UsageError(self.unknown_option(flag))
        options, rest = self.parse_known_intermixed_args([*joined, *behind])
        if rest:
            raise UsageError(self.unknown_option(rest[0]))
        return options

    def flags(self) -> list[str]:
        """Every option by every name."""
        return [name for action in self._actions for name in action.option_strings]

    def unknown_option(self, word: str) -> str:
        """The line for a word that is neither an option nor an expected value."""
        see = f"see {self.prog} --help"
        if isinstance(word, _Argument) or not word.startswith("-"):
            named = "" if self._get_positional_actions() else ": values follow an option"
            return f"unexpected argument {quoted(word)}{named}; {see}"
        flag = word.partition("=")[0]
        (near,) = difflib.get_close_matches(flag, self.flags(), n=1, cutoff=0.0)
        return f"unknown option {quoted(flag)}: did you mean {near!r}? {see}"

    def _parse_optional(self, arg_string: str) -> Any:
        """What argparse asks whether a word is an option; None says that it is an argument.

        Its own treatment of "--" is lost between the two passes of intermixed arguments.
        """
        return None if isinstance(arg_string, _Argument) else super()._parse_optional(arg_string)

    def _joined(self, words: Sequence[str]) -> list[str]:
        """`--beam-arg --x=1` as `--beam-arg=--x=1`."""
        joined: list[str] = []
        left = iter(words)
        for word in left:
            value = next(left, None) if word in self.takes_dashes else None
            joined.append(word if value is None else f"{word}={value}")
        return joined


def _error_object(line: str) -> Mapping[str, Any]:
    return {"error": line}


def _sentence(help_: str) -> str:
    return f"{help_[:1].upper()}{help_[1:]}."


def _no_options(parser: Parser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """Something that the program can do.

    Attributes:
      name: the word for it.
      help: one line, for the list in the group's help.
      add_options: adds its options to its parser; `--json` is added to them.
      execute: does it, and returns the exit code.
      exit_codes: what each means, for the help, but for those of SIGINT and SIGTERM.
      description: the help's text; by default the one line.
      notes: what the help says below the options.
      error_object: what `--json` prints in place of a result, by the line of the error.
      shows: whether what it prints is all that it is for, with these options, so that it has failed
        when that cannot be written; another one's exit code says what was done or decided.
      after_a_signal: what is said behind "interrupted" or "terminated".
    """

    name: str
    help: str
    add_options: Callable[[Parser], None]
    execute: Callable[[argparse.Namespace], int]
    exit_codes: Mapping[int, str]
    description: str = ""
    notes: str = ""
    error_object: Callable[[str], Mapping[str, Any]] = _error_object
    shows: Callable[[argparse.Namespace], bool] = lambda _: False
    after_a_signal: str = ""

    def parser(self, prog: str) -> Parser:
        """Its parser; `prog` is all the words that lead to it."""
        parser = Parser(
            prog=prog,
            description=self.description or _sentence(self.help),
            epilog="\n\n".join(filter(None, [self.notes, exit_code_table(self.exit_codes)])),
        )
        self.add_options(parser)
        text = "print one JSON object on stdout, all else on stderr"
        parser.add_argument("--json", action="store_true", help=text)
        return parser


@dataclass(frozen=True)
class Group:
    """Commands, or groups of commands, below one word.

    Attributes:
      name: the word; for the outermost group the program's name.
      help: one line, for the list in the group above.
      members: in the order of the help.
      exit_codes: as those of a command; none where each command says so itself.
      add_options: adds options of the group itself, such as `--version`.
    """

    name: str
    help: str
    members: tuple[Command | Group, ...]
    exit_codes: Mapping[int, str] | None = None
    add_options: Callable[[Parser], None] = _no_options

    def parser(self, prog: str) -> Parser:
        """Its parser, which knows help and its own options, and lists the members."""
        parser = Parser(
            prog=prog,
            description=_sentence(self.help),
            epilog=exit_code_table(self.exit_codes) if self.exit_codes else None,
        )
        self.add_options(parser)
        members = parser.add_subparsers(metavar="COMMAND", title="commands")
        for member in self.members:
            members.add_parser(member.name, help=member.help)
        return parser

    def member(self, prog: str, words: Sequence[str]) -> Command | Group:
        """The member that the first word names.

        Raises:
          UsageError: none does; the line names the nearest one.
          Answered: it was an option of the group's own, such as `--help`.
        """
        names = [member.name for member in self.members]
        if not words:
            raise UsageError(f"no command given, expected {one_of(names)}; see {prog} --help")
        if words[0].startswith("-"):
            parser = self.parser(prog)
            parser.parse_known_args(words[:1])  # ends here for --help and the like
            if any(words[0].partition("=")[0] in m.parser(m.name).flags() for m in self.members):
                raise UsageError(f"{words[0]} stands before the command, expected after it")
            raise UsageError(parser.unknown_option(words[0]))
        for member in self.members:
            if member.name == words[0]:
                return member
        inner = prog.partition(" ")[2]
        raise UsageError(unknown(f"{inner} command".strip(), words[0], names))


@dataclass(frozen=True)
class Chosen:
    """A command, all the words that led to it, and those that are for itself."""

    command: Command
    prog: str
    words: Sequence[str]

    def options(self) -> argparse.Namespace:
        """See `Parser.options`."""
        return self.command.parser(self.prog).options(self.words)


def choose(top: Group, words: Sequence[str]) -> Chosen:
    """The command that the first words name.

    Raises:
      UsageError, Answered: see `Group.member`.
    """
    prog, member = top.name, top.member(top.name, words)
    while True:
        prog, words = f"{prog} {member.name}", words[1:]
        if isinstance(member, Command):
            return Chosen(member, prog, words)
        member = member.member(prog, words)


def whole_number(least: int) -> Callable[[str], int]:
    """The type of an option that takes a number from `least` on, of 64 bits at most."""

    def read(text: str) -> int:
        known = text.isdecimal() and len(text) <= _MOST_DIGITS
        if not known or int(text) < least:
            most = f", of {_MOST_DIGITS} digits at most" if len(text) > _MOST_DIGITS else ""
            raise argparse.ArgumentTypeError(
                f"is {quoted(text)}, expected a whole number, {least} or more{most}"
            )
        return int(text)

    return read


def local_path(text: str) -> str:
    """The type of an option that takes a file or directory; `~` stands for the home directory."""
    try:
        return paths.expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is {quoted(text)}, expected {error}") from None


def exit_code_table(exit_codes: Mapping[int, str]) -> str:
    """What the help says of the exit codes."""
    by_signals = {INTERRUPTED: "interrupted", TERMINATED: "terminated by SIGTERM, within 10 s"}
    every = {**exit_codes, **by_signals}
    lines = [f"  {code:<3}  {text}" for code, text in every.items()]
    return "\n".join(["exit codes:", *lines])


def one_of(names: Iterable[str]) -> str:
    """Names as an enumeration: "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
