"""Every option that takes a path of this machine takes `~`, and refuses an empty one."""

import argparse
from collections.abc import Iterator

import pytest

from pipeline.cli.command import Command, Group, local_path
from pipeline.cli.configuration import _Override
from pipeline.cli.main import commands, main

# Paths of other machines, or no paths.
ELSEWHERE = {
    ("tfx-mnist kubeflow compile", "--serving-dir"),
    ("tfx-mnist kubeflow compile", "--data-dir"),
}


def options(member: Command | Group, prog: str) -> Iterator[tuple[str, argparse.Action]]:
    """The options of all commands, with the words that lead to each."""
    if isinstance(member, Group):
        for inner in member.members:
            yield from options(inner, f"{prog} {inner.name}")
    else:
        yield from ((prog, action) for action in member.parser(prog)._actions)


def names(action: argparse.Action) -> tuple[str, ...]:
    return tuple(action.option_strings) or (action.dest,)


def test_each_is_of_the_one_type_or_a_key_of_the_configuration() -> None:
    found = {
        (prog, names(action)[-1]): action
        for prog, action in options(commands(), "tfx-mnist")
        if action.metavar in ("DIR", "FILE", "PYTHON") or action.dest == "images"
    }
    other = {
        key
        for key, action in found.items()
        if action.type is not local_path and not isinstance(action, _Override)
    }
    assert other == ELSEWHERE
    assert len(found) > 30


@pytest.mark.parametrize(
    "words",
    [
        ["versions", "--serving-dir", ""],
        ["rollback", "--reason", "r", "--pipeline-root", " "],
        ["predict", ""],
        ["worker", "--pipeline-root", ""],
        ["gate", "check", "--dataset", "mnist", "--model", "m", "--baseline", ""],
        ["gate", "simulate", "--png", ""],
        ["kubeflow", "submit", "--host", "http://h", "--pipeline", ""],
        ["run", "--hparams", ""],
        ["run", "--pipeline-root", ""],
    ],
)
def test_an_empty_one_is_a_users_error(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    line = capfd.readouterr().err
    assert "is '', expected a path" in line or "is ' ', expected a path" in line
    assert line.count("\n") == 1
