"""`gate simulate`: what it prints, and what no two models can have."""

import json
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.pipeline.cli.processes import process

Captured = pytest.CaptureFixture[str]

FEW = ("--simulations", "40", "--drops", "0.01,0", "--decisions", "3")


def _json(capfd: Captured, *words: str) -> dict:
    assert main(["gate", "simulate", "--json", *FEW, *words]) == 0
    shown = capfd.readouterr()
    assert (shown.out.count("\n"), shown.err) == (1, "")
    return json.loads(shown.out)


def test_each_drop_is_a_line_by_rising_drop(capfd: Captured) -> None:
    assert main(["gate", "simulate", *FEW]) == 0
    shown = capfd.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("policy of mnist: floor 0.99, class floor 0.97, max drop ")
    assert lines[1] == (
        "10,000 test images of 10 classes, decision 1 on them; served accuracy 0.994, discordance "
        "0.0047"
    )
    assert lines[3].split()[:2] == ["worse", "by"]
    assert [line.split()[0] for line in lines[4:6]] == ["0", "0.01"]
    assert lines[5].split()[1:3] == ["0.00", "%"]
    assert lines[7] == (
        "40 decisions simulated for each, seed 0; several checks may refuse the same one; "
        "cross-entropy and integrity are taken as passed"
    )
    assert lines[9] == (
        "any bad model released by 3 decisions on one test set; the models' accuracy is the floor, "
        "nothing is served"
    )
    assert [line.split("  ")[0] for line in lines[-3:]] == [
        *("independent models", "sees pass or fail", "sees the accuracy")
    ]
    assert shown.err == ""


def test_a_threshold_is_certainty_only_where_it_is(capfd: Captured) -> None:
    set_ = ("--set", "gate.confidence=0.9999999", "--set", "gate.floor=0.99999995")
    assert main(["gate", "simulate", *FEW, *set_]) == 0
    line = capfd.readouterr().out.splitlines()[0]
    assert "floor 0.99999995, class floor 0.97, " in line
    assert ", confidence 0.9999999, " in line


def test_json_holds_the_full_values(capfd: Captured) -> None:
    fields = _json(capfd)
    equal, worse = fields.pop("curve")
    policy = fields.pop("policy")
    (independent, *_) = fields.pop("bad_models")
    assert fields == {
        "dataset": "mnist",
        "rows": 10_000,
        "classes": 10,
        "accuracy": 0.994,
        "discordance": 0.0047,
        "decision": 1,
        "decisions": 3,
        "simulations": 40,
        "seed": 0,
        "png": None,
        "error": None,
    }
    assert policy["floor"] == 0.99
    assert (equal["drop"], worse["drop"]) == (0.0, 0.01)
    assert worse["refused"] == worse["refused_by"]["max_drop"] == 1.0
    assert worse["released"] == 0.0
    assert (independent["submitter"], independent["released"]) == ("independent models", 0.0)
    assert independent["released_interval"][0] == 0.0
    low, high = equal["released_interval"]
    assert low < equal["released"] < high


def test_a_set_has_its_own_policy_and_a_key_changes_it(capfd: Captured) -> None:
    assert _json(capfd, "--dataset", "kmnist", "--rows", "100")["policy"]["floor"] == 0.94
    fields = _json(capfd, "--dataset", "emnist/balanced:3.1.0", "--set", "gate.max_drop=0.5")
    assert fields["dataset"] == "emnist/balanced"
    assert (fields["policy"]["floor"], fields["policy"]["max_drop"]) == (0.84, 0.5)


def test_of_an_unknown_set_the_general_policy_is_said_to_be_used(capfd: Captured) -> None:
    assert main(["gate", "simulate", *FEW, "--dataset", "mine"]) == 0
    said = "policy of mine, a set without thresholds of its own: floor 0.95, "
    assert capfd.readouterr().out.startswith(said)


@pytest.mark.parametrize(
    ("config", "words", "dataset", "floor"),
    [
        ("preset: fast\ngate: {floor: 0.9}\n", [], "mnist", 0.9),
        ("dataset: fashion_mnist\n", [], "fashion_mnist", 0.9),
        ("dataset: folder:photos\n", ["--dataset", "photos"], "photos", 0.95),
        ("gate: {floor: 0.9}\n", ["--set", "gate.floor=0.8"], "mnist", 0.8),
    ],
)
def test_the_policy_is_that_of_a_run_with_this_configuration(
    config: str, words: list[str], dataset: str, floor: float, tmp_path: Path, capfd: Captured
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config)
    fields = _json(capfd, "--config", str(path), *words)
    assert (fields["dataset"], fields["policy"]["floor"]) == (dataset, floor)


def test_the_curve_is_drawn_into_a_file(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "curve.png"
    assert _json(capfd, "--png", str(path))["png"] == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--rows", "0"], "--rows is '0', expected a whole number from 1 to 100,000,000; see t"),
        (["--decision", "0"], "--decision is '0', expected a whole number, 1 or more; see tfx-m"),
        (["--classes", "10001"], "--classes is '10001', expected a whole number from 2 to 10,000;"),
        (["--accuracy", "99"], "--accuracy is '99', expected a number from 0 to 1; se"),
        (["--drops", "0,x"], "--drops is '0,x', expected numbers from 0 to 1; see"),
        (["--rows", "9"], "9 test images of 10 classes, expected at least one of each"),
        (["--drops", "1"], "the drop is 1, expected 0 to 0.9917: what the served model gets right"),
        (["--set", "seed=1"], "seed has no effect here, expected one of gate.floor, "),
        (["--dataset", "idx:/a"], "dataset is idx:/a, expected the name of a set, such as mnist"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], line: str, capfd: Captured
) -> None:
    assert main(["gate", "simulate", "--json", *words]) == 2
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert error.startswith(line)
    assert shown.err == f"tfx-mnist: {error}\n"


def test_a_real_process_draws_without_a_display(tmp_path: Path) -> None:
    words = ["gate", "simulate", *FEW, "--png", str(tmp_path / "curve.png")]
    done = process(words, {"DISPLAY": "", "MPLBACKEND": "tkagg"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "curve.png").exists()
