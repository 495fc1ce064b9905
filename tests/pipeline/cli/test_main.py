"""The command line as a whole: help, usage errors, exit codes, and that it answers at once."""

import json
import re

import pytest

from pipeline.cli.command import UsageError, choose
from pipeline.cli.main import commands, main
from pipeline.result import FAILED
from tests.pipeline.cli.processes import process, script

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no command given, expected run; see tfx-mnist --help"),
        (["rnu"], "unknown command 'rnu': did you mean 'run'? known are run"),
        (["--versio"], "unknown option '--versio': did you mean '--version'?"),
        (["--json", "run"], "--json stands before the command, expected after it"),
        (["run", "--datset", "m"], "unknown option '--datset': did you mean '--dataset'?"),
        (["run", "--datset=m"], "unknown option '--datset': did you mean '--dataset'?"),
        (["run", "--see", "1"], "unknown option '--see': did you mean '--seed'?"),
        (["run", "mnist"], "unexpected argument 'mnist': values follow an option;"),
        (["run", "--seed"], "argument --seed: expected one argument; see tfx-mnist run --help"),
        (["run", "--beam-arg"], "argument --beam-arg: expected one argument;"),
        (["run", "--set", "seed"], "--set 'seed' has no '=', expected key=value such as"),
    ],
)
def test_words_that_make_no_command_are_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(commands(), words).options()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["rnu"], "tfx-mnist: unknown command 'rnu': did you mean 'run'? known are run\n"),
        (
            ["run", "--sede", "1"],
            "tfx-mnist: unknown option '--sede': did you mean '--seed'? see tfx-mnist run --help\n",
        ),
        (["run", "--seed", "x"], "tfx-mnist: seed is 'x', expected a whole number\n"),
        (
            ["run", "--preset", "fastest"],
            "tfx-mnist: unknown preset 'fastest': did you mean 'fast'? "
            "known are article, fast, quick\n",
        ),
    ],
)
def test_a_real_process_says_one_line_on_stderr_and_exits_with_2(
    words: list[str], line: str
) -> None:
    done = process(words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.parametrize("words", [["run", "--json", "--sede"], ["run", "--json", "--seed=x"]])
def test_with_json_a_usage_error_is_an_object_too(words: list[str], capfd: Captured) -> None:
    assert main(words) == 2
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    assert (fields["outcome"], fields["release"]) == (FAILED, None)
    assert shown.err == f"tfx-mnist: {fields['error']}\n"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_explains_the_exit_codes(words: list[str], capfd: Captured) -> None:
    assert main(words) == 0
    shown = capfd.readouterr().out
    for line in ("0    released", "1    failed", "2    usage", "3    refused", "130  inter"):
        assert line in shown


def test_help_of_run_lists_presets_and_keys(capfd: Captured) -> None:
    main(["run", "--help"])
    shown = capfd.readouterr().out
    assert "quick, fast or article" in " ".join(shown.split())
    assert "gate.class_floor" in shown


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["rnu"]])
def test_answers_import_nothing_heavy(words: list[str]) -> None:
    done = script(
        """
        import sys
        from pipeline.cli.main import main
        main(sys.argv[1:])
        heavy = {"tensorflow", "keras", "tfx", "apache_beam", "numpy", "rich", "yaml", "absl"}
        print("heavy:", sorted(heavy & set(sys.modules)))
        """,
        *words,
    )
    assert done.stdout.endswith("heavy: []\n")


def test_version_is_one_line(capfd: Captured) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"tfx-mnist .+\n", capfd.readouterr().out)
