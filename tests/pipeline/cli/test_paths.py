"""Every option that takes a path of this machine takes `~`, and refuses an empty one."""

from collections.abc import Iterator

import click
import pytest

from pipeline.cli.command import CommandGroup
from pipeline.cli.main import COMMANDS, main
from pipeline.cli.option_types import LOCAL_PATH, WRITTEN_FILE

CONFIGURED = ("run", "gate check", "kubeflow local", "doctor")
# Paths of other machines, or keys of the configuration, which reads them.
ELSEWHERE = {
    ("kubeflow compile", "--serving-dir"),
    ("kubeflow compile", "--data-dir"),
    *((name, "--pipeline-root") for name in CONFIGURED),
    *((name, "--serving-dir") for name in CONFIGURED),
    *((name, "--data-dir") for name in CONFIGURED),
}


def options(group: CommandGroup, *words: str) -> Iterator[tuple[str, click.Parameter]]:
    """The options of all commands, with the words that lead to each."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        member = group.get_command(ctx, name)
        if isinstance(member, CommandGroup):
            yield from options(member, *words, name)
        else:
            yield from ((" ".join([*words, name]), param) for param in member.params)


def test_each_is_of_one_of_the_two_types_or_a_key_of_the_configuration() -> None:
    found = {
        (words, max(param.opts, key=len)): param
        for words, param in options(COMMANDS)
        if param.metavar in ("DIR", "FILE", "PYTHON") or param.name == "images"
    }
    local = (LOCAL_PATH, WRITTEN_FILE)
    assert {key for key, param in found.items() if param.type not in local} == ELSEWHERE
    assert len(found) > 30


@pytest.mark.parametrize(
    "words",
    [
        ["versions", "--serving-dir", ""],
        ["predict", ""],
        ["gate", "check", "--dataset", "mnist", "--model", "m", "--baseline", ""],
        ["gate", "simulate", "--png", ""],
        ["kubeflow", "submit", "--host", "http://h", "--pipeline", ""],
        ["run", "--pipeline-root", ""],
    ],
)
def test_an_empty_one_is_a_users_error(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    line = capfd.readouterr().err
    assert "is '', expected a path" in line
    assert line.count("\n") == 1
