"""Commands in groups in groups: how they are found, and what is said of words that find none."""

import argparse

import pytest

from pipeline.cli.command import Answered, Command, Group, Parser, UsageError, choose, one_of


def _add_options(parser: Parser) -> None:
    parser.add_argument("--floor")


def _add_positional(parser: Parser) -> None:
    parser.add_argument("version", metavar="VERSION", nargs="?")


def _command(name: str, add_options: object = _add_options) -> Command:
    def execute(options: argparse.Namespace) -> int:
        return 7

    return Command(name, f"what {name} does", add_options, execute, {0: "passed", 7: "seven"})


GATE = Group("gate", "ask the gate", (_command("simulate"), _command("check")))
TOP = Group("prog", "the program", (_command("rollback", _add_positional), GATE))


def test_a_command_is_found_with_its_words() -> None:
    chosen = choose(TOP, ["rollback", "3"])
    assert (chosen.command.name, chosen.options().version) == ("rollback", "3")


def test_a_command_in_a_group_is_found_with_its_words() -> None:
    chosen = choose(TOP, ["gate", "check", "--floor", "0.9", "--json"])
    options = chosen.options()
    assert (chosen.command.name, options.floor, options.json) == ("check", "0.9", True)
    assert chosen.command.execute(options) == 7


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no command given, expected rollback or gate; see prog --help"),
        (["gat"], "unknown command 'gat': did you mean 'gate'? known are gate, rollback"),
        (["gate"], "no command given, expected simulate or check; see prog gate --help"),
        (
            ["gate", "chek"],
            "unknown gate command 'chek': did you mean 'check'? known are check, simulate",
        ),
        (["gate", "--floor", "1"], "--floor stands before the command, expected after it"),
        (
            ["gate", "--hlep"],
            "unknown option '--hlep': did you mean '--help'? see prog gate --help",
        ),
        (
            ["gate", "check", "--flor=1"],
            "unknown option '--flor': did you mean '--floor'? see prog gate check --help",
        ),
        (
            ["gate", "check", "3"],
            "unexpected argument '3': values follow an option; see prog gate check --help",
        ),
        (
            ["rollback", "--jsn", "3"],
            "unknown option '--jsn': did you mean '--json'? see prog rollback --help",
        ),
        (["rollback", "-x"], "unknown option '-x': did you mean '-h'? see prog rollback --help"),
        (["rollback", "3", "4"], "unexpected argument '4'; see prog rollback --help"),
    ],
)
def test_words_that_find_nothing_are_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(TOP, words).options()
    assert str(caught.value) == line


def test_options_may_stand_between_arguments() -> None:
    def add_options(parser: Parser) -> None:
        parser.add_argument("images", nargs="+")
        parser.add_argument("--floor")

    words = ["predict", "a.png", "--floor", "1", "b.png", "--json", "c.png"]
    options = choose(Group("prog", "", (_command("predict", add_options),)), words).options()
    assert (options.images, options.floor) == (["a.png", "b.png", "c.png"], "1")


@pytest.mark.parametrize(
    ("words", "images", "floor"),
    [
        (["--", "-rf"], ["-rf"], None),
        (["a.png", "--floor", "1", "--", "-rf", "--floor", "--json"], None, "1"),
        (["--floor", "1", "--", "a.png", "--jsn"], ["a.png", "--jsn"], "1"),
    ],
)
def test_behind_two_dashes_stand_arguments_whatever_they_begin_with(
    words: list[str], images: list[str] | None, floor: str | None
) -> None:
    def add_options(parser: Parser) -> None:
        parser.add_argument("images", nargs="+")
        parser.add_argument("--floor")

    group = Group("prog", "", (_command("predict", add_options),))
    options = choose(group, ["predict", *words]).options()
    assert options.images == (images or ["a.png", "-rf", "--floor", "--json"])
    assert (options.floor, options.json) == (floor, False)


def test_an_argument_too_many_behind_two_dashes_is_no_option() -> None:
    with pytest.raises(UsageError, match="unexpected argument '-4'; see prog rollback --help"):
        choose(TOP, ["rollback", "3", "--", "-4"]).options()


def test_help_is_there_on_every_level(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["--help"], ["gate", "--help"], ["gate", "check", "--help"]):
        with pytest.raises(Answered):
            choose(TOP, words).options()
        shown.append(capsys.readouterr().out)
    assert "ask the gate" in shown[0]
    assert "what simulate does" in shown[1]
    assert "exit codes:\n  0    passed\n  7    seven\n  130  interrupted\n  143  term" in shown[2]


def test_names_are_enumerated() -> None:
    assert [one_of("a"), one_of("ab"), one_of("abc")] == ["a", "a or b", "a, b or c"]
