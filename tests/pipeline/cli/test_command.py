"""Commands in groups in groups: how they are found, and what is said of words that find none."""

import click
import pytest

from pipeline.cli.command import Command, CommandGroup
from pipeline.cli.main import usage_line
from pipeline.result import ExitCode

FLOOR = click.Option(["--floor"])
IMAGES = click.Argument(["images"], metavar="IMAGE", nargs=-1, required=True)


def command(name: str, *params: click.Parameter) -> Command:
    help_ = f"What {name} does. And more."
    codes = {ExitCode.DONE: "passed"}
    return Command(name, params=list(params), callback=lambda **_: 7, help=help_, exit_codes=codes)


def top() -> CommandGroup:
    optional = click.Argument(["version"], metavar="VERSION", required=False)
    gate = CommandGroup(
        "gate",
        "Ask the gate.",
        {"simulate": command("simulate", FLOOR), "check": command("check", FLOOR)},
    )
    members = {"rollback": command("rollback", optional), "gate": gate}
    return CommandGroup(
        "prog",
        "The program.",
        {**members, "predict": command("predict", IMAGES, FLOOR)},
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(words: list[str]) -> int:
    with top().make_context("prog", list(words)) as ctx:
        return top().invoke(ctx)


def seen(name: str, words: list[str]) -> dict[str, object]:
    """The parameters as a command gets them."""
    return top().get_command(click.Context(top()), name).make_context(name, list(words)).params


def test_a_command_in_a_group_is_found_and_its_exit_code_is_the_programs() -> None:
    assert run(["gate", "check", "--floor", "0.9", "--json"]) == 7


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no command given, expected rollback, gate or predict; see prog --help"),
        (["gate"], "no command given, expected simulate or check; see prog gate --help"),
        (["gate", "--floor", "1"], "--floor stands before the command, expected after it"),
        (["gate", "--hlp"], "unknown option '--hlp': did you mean '--help'? see prog gate --help"),
        (
            ["gate", "check", "--flor=1"],
            "unknown option '--flor': did you mean '--floor'? see prog gate check --help",
        ),
        (
            ["gate", "check", "3"],
            "unexpected argument '3': values follow an option; see prog gate check --help",
        ),
        (["gate", "check", "--floor"], "option '--floor' requires an argument; see prog gate chec"),
        (["gate", "check", "--json=1"], "option '--json' does not take a value; see prog gate che"),
        (
            ["rollback", "--jsn", "3"],
            "unknown option '--jsn': did you mean '--json'? see prog rollback --help",
        ),
        (["rollback", "-x"], "unknown option '-x': see prog rollback --help"),
        (["rollback", "3", "4"], "unexpected argument '4'; see prog rollback --help"),
        (["rollback", "3", "--", "-4"], "unexpected argument '-4'; see prog rollback --help"),
        (["predict"], "IMAGE is missing; see prog predict --help"),
    ],
)
def test_words_that_find_nothing_are_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        run(words)
    assert usage_line(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("words", "images", "floor"),
    [
        (["a", "--floor", "1", "b", "--json", "c"], ("a", "b", "c"), "1"),
        (["--", "-rf"], ("-rf",), None),
        (["a", "--floor", "1", "--", "-rf", "--floor"], ("a", "-rf", "--floor"), "1"),
        (["--floor=1", "--", "a", "--jsn"], ("a", "--jsn"), "1"),
        (["a", "--floor", "--json"], ("a",), "--json"),
    ],
)
def test_options_may_stand_between_arguments_and_none_stands_behind_two_dashes(
    words: list[str], images: tuple[str, ...], floor: str | None
) -> None:
    params = seen("predict", words)
    assert (params["images"], params["floor"]) == (images, floor)


def test_help_is_there_on_every_level(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["--help"], ["gate", "-h"], ["gate", "check", "--help"]):
        with pytest.raises(click.exceptions.Exit):
            run(words)
        shown.append(capsys.readouterr().out)
    assert "gate      Ask the gate.\n" in shown[0]
    assert "simulate  What simulate does.\n" in shown[1]
    assert "Exit codes:\n  0    passed\n  130  interrupted\n  143  term" in shown[2]
