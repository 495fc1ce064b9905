"""The command line as a whole: help, usage errors, exit codes, and that it answers at once."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from components import serving_dir
from components.serving_dir import publish, rollback
from pipeline.cli.main import main
from pipeline.result import FAILED
from tests.components.serving_dir.samples import publish_letters
from tests.pipeline.cli.processes import imported_by, process

Captured = pytest.CaptureFixture[str]

HEAVY = {
    *("tensorflow", "keras", "numpy", "PIL", "tfx", "apache_beam", "tensorflow_datasets"),
    *("tensorflow_transform", "tensorflow_model_analysis", "ml_metadata", "rich", "yaml", "absl"),
    "matplotlib",
}
# TensorFlow 2.16 imports Keras by itself, and that Matplotlib; reading images takes Pillow.
NEEDED_BY_TENSORFLOW = {
    *("tensorflow", "keras", "numpy", "PIL", "absl", "rich", "yaml", "matplotlib"),
}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [],
            "no command given, expected run, worker, doctor, runs, versions, approve, reject, "
            "lineage, rollback, prune, verify, predict, monitor, config, gate or kubeflow;",
        ),
        (["gate", "simulat"], "unknown gate command 'simulat': did you mean 'simulate'? known are"),
        (["--json", "run"], "--json stands before the command, expected after it"),
        (["run", "--see", "1"], "unknown option '--see': did you mean '--seed'?"),
        (["run", "--data_dir", "d"], "unknown option '--data_dir': did you mean '--data-dir'?"),
        (["run", "--epochs", "3"], "unknown option '--epochs': did you mean '--set training.epo"),
        (["gate", "check", "--gate.floor=1"], "unknown option '--gate.floor': did you mean '--set"),
        (["gate", "check", "--epochs", "3"], "unknown option '--epochs': see tfx-mnist gate ch"),
        (["gate", "simulate", "--image-size=8"], "unknown option '--image-size': see tfx-mnist"),
        (["run", "--beam-arg"], "option '--beam-arg' requires an argument;"),
        (["run", "--set", "seed"], "--set is 'seed', expected KEY=VALUE such as gate.floor=0."),
        (
            ["run", "--preset", "fastest"],
            "unknown preset 'fastest': did you mean 'fast'? known are article, best, fast, quick\n",
        ),
    ],
)
def test_words_that_make_no_command_are_refused_in_one_line(
    words: list[str], line: str, capfd: Captured
) -> None:
    assert main(words) == 2
    shown = capfd.readouterr().err
    assert shown.startswith(f"tfx-mnist: {line}")
    assert shown.count("\n") == 1


def test_a_real_process_says_one_line_on_stderr_and_exits_with_2() -> None:
    done = process(["rnu"])
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "tfx-mnist: unknown command 'rnu': did you mean 'run'? known are approve, config, doctor, "
        "gate, kubeflow, lineage, monitor, predict, prune, reject, rollback, run, runs, verify, "
        "versions, worker\n",
    )


def test_a_python_without_docstrings_is_refused() -> None:
    done = process(["--help"], {"PYTHONOPTIMIZE": "2"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.endswith("unset PYTHONOPTIMIZE, or set it to 1\n")


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (["run", "--json", "--sede"], FAILED),
        (["run", "--json", "--seed=x"], FAILED),
        (["versoins", "--json"], None),
    ],
)
def test_with_json_a_usage_error_is_an_object_too(
    words: list[str], outcome: str | None, capfd: Captured
) -> None:
    assert main(words) == 2
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    assert (fields.get("outcome"), fields.get("release")) == (outcome, None)
    assert shown.err == f"tfx-mnist: {fields['error']}\n"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_explains_the_exit_codes(words: list[str], capfd: Captured) -> None:
    assert main(words) == 0
    shown = capfd.readouterr().out
    for line in ("0    released", "1    failed", "2    usage", "3    refused", "130  inter"):
        assert line in shown
    assert words == ["--help"] or "quick, fast, best, article" in " ".join(shown.split())


@pytest.mark.parametrize(
    "command", ["versions", "rollback", "prune", "verify", "predict", "gate simulate"]
)
def test_help_explains_the_exit_codes_of_every_command(command: str, capfd: Captured) -> None:
    assert main([*command.split(), "--help"]) == 0
    codes = capfd.readouterr().out.partition("Exit codes:\n")[2].splitlines()
    assert [line.split()[0] for line in codes if line[2] != " "] == ["0", "1", "2", "130", "143"]


MANY = "9" * 5_000


@pytest.mark.parametrize(
    "words",
    [
        [MANY],
        ["rollback", "--reason", "r", MANY],
        ["rollback", "--" + MANY],
        ["run", MANY],
        ["run", "--seed", MANY],
        ["run", "--seed", MANY[:4_000]],
        ["run", "--preset", MANY],
        ["run", "--set", MANY],
        ["run", "--set", f"{MANY}=1"],
        ["run", "--set", f"training.epochs={MANY}"],
        ["run", "--set", f"training.learning_rate=-{MANY}"],
        ["run", "--set", f"training.optimizer={MANY}"],
        ["run", "--set", f"gate.slices={MANY}"],
        ["run", "--no-cache=" + MANY],
        ["run", "--config", MANY],
        ["run", "--hparams", MANY],
        ["run", "--save-hparams", f"{MANY}/file"],
        ["run", "--pipeline-root", MANY],
        ["run", "--dataset", f"idx:{MANY}"],
        ["prune", "--keep", MANY],
        ["worker", "--wait", MANY],
        ["versions", "--dataset", MANY],
        ["versions", "--serving-dir", MANY],
        ["predict", MANY, "--version", MANY],
        ["gate", "simulate", "--rows", MANY],
        ["gate", "simulate", "--drops", MANY],
    ],
    ids=lambda words: " ".join(words).replace(MANY, "9999").replace(MANY[:4_000], "999"),
)
def test_five_thousand_digits_make_no_long_error(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", "")
    assert main(words) == 2
    line = capfd.readouterr().err
    assert (line.count("\n"), line[:11]) == (1, "tfx-mnist: ")
    # Besides what is quoted the line may list every key, or hold the test's own directory.
    assert "9" * 80 not in line
    assert len(line) < 1_300
    assert list(tmp_path.iterdir()) == []


def test_a_dash_in_front_of_a_file_is_told_from_an_option(tmp_path: Path, capfd: Captured) -> None:
    publish_letters(tmp_path / "serving", "a")
    words = ["predict", "--serving-dir", str(tmp_path / "serving"), "--version", "9"]
    assert main([*words, "--", "-rf", "--json"]) == 1
    assert capfd.readouterr() == (
        "",
        f"tfx-mnist: there is no version 9 in {tmp_path}/serving: known are 1\n",
    )


def test_answers_import_nothing_heavy_and_simulating_numpy_alone() -> None:
    commands = ("run", "doctor", "gate check", "gate simulate")
    helps = [[*command.split(), "--help"] for command in commands]
    simulate = ["gate", "simulate", "--simulations", "1"]
    said, imported = imported_by(HEAVY, ["--help"], *helps, ["--version"], ["rnu"], simulate)
    assert all(f"Usage: tfx-mnist {command} " in said for command in commands)
    assert "unknown command 'rnu'" in said
    assert "1 decisions simulated" in said
    assert [found for found in imported if found] == imported[-1:] == [["numpy"]]


def test_what_is_done_after_a_release_imports_nothing_heavy(tmp_path: Path) -> None:
    publish_letters(tmp_path / "serving", "ab")
    rollback(tmp_path / "serving")
    asked = {
        "versions": "restores 1 in place of 2",
        "verify": "version 3: valid",
        "rollback --reason r 1": "it holds the same model as the live version 3",
        "rollback --reason r": "no older good version",
        "prune --keep 1": "removed: version 1",
        "predict no.png --version 9": "there is no version 9",
    }
    where = ["--serving-dir", str(tmp_path / "serving")]
    said, imported = imported_by(HEAVY, *([*words.split(), *where] for words in asked))
    assert [answer for answer in asked.values() if answer not in said] == []
    assert not any(imported)


def test_what_asks_a_model_imports_tensorflow_and_neither_tfx_nor_beam(
    thirds: str, tmp_path: Path
) -> None:
    from tests.pipeline.saved_models import brightest_third, images, save, save_function

    publish(save(tmp_path / "served", (2, 4, 1), ("left", "right")), tmp_path / "serving", {})
    Image.new("L", (4, 2)).save(tmp_path / "image.png")
    predict = ["predict", str(tmp_path / "image.png"), "--serving-dir", str(tmp_path / "serving")]
    model = save_function(tmp_path / "model", brightest_third, images(12, 12))
    check = ["gate", "check", "--model", str(model), "--dataset", thirds]
    check += ["--pipeline-root", str(tmp_path / "root")]
    said, imported = imported_by(HEAVY - NEEDED_BY_TENSORFLOW, predict, check)
    assert "left" in said
    assert "accuracy: 0.9833 on 60 test images" in said
    assert not any(imported)


def test_version_is_one_line(capfd: Captured) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"tfx-mnist .+\n", capfd.readouterr().out)


Completions = Callable[[str], list[str]]


@pytest.fixture
def completions(monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> Completions:
    """Gives what bash is told, a line each: the kind, and the word."""

    def completed(words: str) -> list[str]:
        asked = {"_TFX_MNIST_COMPLETE": "bash_complete", "COMP_WORDS": words}
        for name, value in {**asked, "COMP_CWORD": str(words.count(" "))}.items():
            monkeypatch.setenv(name, value)
        main([])
        return capfd.readouterr().out.splitlines()

    return completed


@pytest.mark.once  # click is the same
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tfx-mnist ver", {"versions", "verify"}),
        ("tfx-mnist gate ", {"check", "simulate"}),
        ("tfx-mnist run --pre", {"--preset"}),
        ("tfx-mnist run --preset f", {"fast"}),
        ("tfx-mnist run --set gate.f", {"gate.floor="}),
        ("tfx-mnist gate check --set data.i", {"data.image_size="}),
        ("tfx-mnist gate simulate --set data.i", {""}),
    ],
)
def test_a_shell_completes_commands_options_presets_and_keys(
    words: str, expected: set[str], completions: Completions
) -> None:
    assert {line.partition(",")[2] for line in completions(words)} == expected


@pytest.mark.once
@pytest.mark.parametrize(
    "words",
    [
        "run --config r",
        "run --data-dir r",
        "run --pipeline-root r",
        "run --serving-dir r",
        "run --signing-key r",
        "predict r",
        "versions --serving-dir r",
    ],
)
def test_a_shell_completes_paths(words: str, completions: Completions) -> None:
    assert completions(f"tfx-mnist {words}") == ["file,r"]  # the shell looks for files and folders


@pytest.mark.once
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setenv("_TFX_MNIST_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert "_TFX_MNIST_COMPLETE=" in capfd.readouterr().out


def test_no_command_leaves_anything_in_the_temporary_directory(tmp_path: Path) -> None:
    """tensorflow-datasets leaves a directory for a set that is not prepared."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["versions", "--dataset", "fashion_mnist", "--pipeline-root", str(tmp_path / "root")]
    assert process(words, env={"TMPDIR": str(temporary)}).returncode == 2
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(("command", "exit_code"), [("doctor", 1), ("run", 2)])
def test_a_user_who_can_make_no_temporary_file_is_told_in_one_line(
    command: str, exit_code: int, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "pipeline.cli", command, "--pipeline-root", str(tmp_path)]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == exit_code, done.stderr
    assert re.fullmatch(
        r"tfx-mnist: .*No usable temporary directory found.*set TMPDIR.*\n", done.stderr
    )
    assert exit_code == 1 or not list(tmp_path.iterdir())


def test_a_librarys_error_is_said_in_its_words_and_a_bug_is_not_hidden(
    serving: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.pop()

    errors: list[Exception] = [ZeroDivisionError(), OSError("what the library says")]
    monkeypatch.setattr(serving_dir, "versions", fail)
    words = ["versions", "--serving-dir", str(serving)]
    assert main(words) == 1
    assert capfd.readouterr() == ("", "tfx-mnist: what the library says\n")
    with pytest.raises(ZeroDivisionError):
        main(words)


def test_a_working_directory_that_was_removed_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-m", "pipeline.cli", "versions"]
    done = subprocess.run(
        ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone), *command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert (done.returncode, done.stderr) == (
        1,
        "tfx-mnist: the working directory was removed: change to one that exists, and try again\n",
    )
