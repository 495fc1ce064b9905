"""`gate check --predictions`: the decision, its log, its files for a CI, and what it refuses."""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import LOG_NAME
from pipeline.cli.main import main
from tests.components.evaluation.prediction_samples import table, write
from tests.pipeline.cli.processes import imported_by

Captured = pytest.CaptureFixture[str]
Words = Callable[..., list[str]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """300 predictions: a good model's, those of one that errs on each tenth, and classes alone."""
    good = {**table(300), "age": [row % 90 for row in range(300)]}
    write(tmp_path / "good.csv", good)
    write(tmp_path / "good.parquet", good)
    write(tmp_path / "worse.npz", table(300, wrong=range(0, 300, 10)))
    predicted = {name: good[name] for name in ("id", "label")} | {"predicted": good["label"]}
    write(tmp_path / "alone.csv", predicted)
    write(tmp_path / "fewer.csv", table(299))
    return tmp_path


@pytest.fixture
def words(files: Path) -> Words:
    def make(predictions: str, *more: str) -> list[str]:
        given = [str(files / word) if (files / word).is_file() else word for word in more]
        root = str(files / "root")
        path = str(files / predictions)
        return ["gate", "check", "--predictions", path, "--pipeline-root", root, *given]

    return make


def decided(words: list[str], capfd: Captured) -> dict[str, Any]:
    main([*words, "--json"])
    return json.loads(capfd.readouterr().out)


def failed(fields: dict[str, Any]) -> list[str]:
    return [check["name"] for check in fields["checks"] if not check["passed"]]


def test_a_good_model_passes_the_general_thresholds(words: Words, capfd: Captured) -> None:
    assert main(words("good.csv")) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[1:3] == ["baseline: none was given", "accuracy: 1.0000 on 300 test images"]
    assert lines[-2].startswith("written down: ")
    assert "reaches the floor 0.9500" in shown.out
    assert "there is no baseline" in shown.out
    assert lines[-1] == "passed"


def test_a_worse_model_than_the_baseline_is_refused(words: Words, capfd: Captured) -> None:
    words = words("worse.npz", "--baseline-predictions", "good.parquet", "--set", "gate.floor=0.8")
    assert main(words) == 3
    shown = capfd.readouterr().out
    assert "failed: 0 gained and 30 lost of 300 test images against the baseline" in shown
    assert shown.endswith("\nrefused\n")


def test_json_is_that_of_a_model_and_says_what_was_left_out(words: Words, capfd: Captured) -> None:
    fields = decided(words("alone.csv", "--dataset", "mnist"), capfd)
    assert (fields["decision"], fields["error"]) == ("refused", None)
    # 300 images without an error do not show 99 %.
    assert failed(fields) == ["floor"]
    assert fields["metrics"]["accuracy"] == 1.0
    assert fields["metrics"]["cross_entropy"] is fields["metrics"]["top_2_accuracy"] is None
    names = [one["name"] for one in fields["left_out"]]
    assert names[-3:] == ["integrity.finite", "cross_entropy", "slice.mean_intensity"]
    assert not {check["name"] for check in fields["checks"]} & set(names)
    assert (fields["dataset"]["name"], fields["dataset"]["splits"]["test"]["rows"]) == (
        "mnist",
        300,
    )


@pytest.mark.parametrize(("max_drop", "passes"), [("0.9993", True), ("0.99995", False)])
def test_a_max_drop_next_to_all_is_decided_by(
    max_drop: str, passes: bool, words: Words, capfd: Captured
) -> None:
    given = ("--baseline-predictions", "good.parquet", "--set", f"gate.max_drop={max_drop}")
    assert (failed(decided(words("good.csv", *given), capfd)) == []) == passes


def test_a_required_baseline_that_was_not_given_is_refused(words: Words, capfd: Captured) -> None:
    required = ("--set", "gate.require_baseline=true")
    assert failed(decided(words("good.csv", *required), capfd)) == ["baseline"]
    given = ("--baseline-predictions", "good.parquet")
    assert failed(decided(words("good.csv", *required, *given), capfd)) == []


def test_slices_are_held_to_the_class_floor(words: Words, capfd: Captured) -> None:
    fields = decided(words("good.csv", "--slice", "age:30,60", "--slice", "label_of"), capfd)
    assert "has no column 'label_of' for slices, expected one of age" in fields["error"]
    fields = decided(words("fewer.csv", "--slice", "age"), capfd)
    assert "has no column 'age' for slices, and none at all: leave it out" in fields["error"]
    fields = decided(words("good.csv", "--slice", "age:30,60"), capfd)
    names = [one["name"] for one in fields["checks"] if one["name"].startswith("slice.")]
    assert names == ["slice.age<30", "slice.30<=age<60", "slice.60<=age"]


def test_the_same_predictions_are_the_same_decision_and_a_slice_makes_another(
    words: Words, files: Path, capfd: Captured
) -> None:
    def number(*more: str) -> int:
        checks = decided(words(*more), capfd)["checks"]
        return next(one["actual"] for one in checks if one["name"] == "test_budget")

    assert [number("good.csv"), number("good.parquet"), number("worse.npz")] == [1, 1, 2]
    assert number("good.csv", "--slice", "age:30") == 3
    assert number("good.csv", "--slice", "age:30", "--slice", "age:30") == 3
    own = ("--set", "gate.slices=age:30")
    assert [number("good.csv", *own), number("good.csv", *own, "--slice", "age:30")] == [4, 4]
    log = files / "root" / "gate" / LOG_NAME
    assert log.read_text().count("\n") == 4
    assert decided(words("good.csv"), capfd)["log"] == str(log)


def test_a_named_data_set_writes_the_decision_down_where_its_runs_do(
    words: Words, files: Path
) -> None:
    main(words("good.csv", "--dataset", "emnist/balanced"))
    main(words("good.csv", "--serving-dir", str(files / "elsewhere")))
    logs = sorted(path.parent.relative_to(files) for path in files.rglob(LOG_NAME))
    assert list(map(str, logs)) == ["elsewhere", "root/serving/emnist_balanced"]


@pytest.mark.parametrize(
    ("name", "more", "line"),
    [
        ("good.csv", ["--model", "m"], "--model and --predictions are given, expected one of them"),
        (
            "good.csv",
            ["--baseline", "m"],
            "--baseline has no effect with --predictions: give --baseline-p",
        ),
        ("good.csv", ["--data-dir", "d"], "data_dir has no effect here, expected one of pipeline_"),
        ("good.csv", ["--set", "data.image_size=8"], "data.image_size has no effect here, expect"),
        ("good.csv", ["--dataset", "mnits"], "unknown data set 'mnits': did you mean 'mnist'? kn"),
        ("good.csv", ["--baseline-predictions", "fewer.csv"], "'a299'): "),
        (
            "good.csv",
            ["--slice", "age:b"],
            "--slice is 'age:b', expected a column, one of numbers with",
        ),
        ("good.csv", ["--set", "gate.slices=width:3"], "good.csv has no column 'width' for slice"),
        ("good.csv", ["--serving-dir", "/dev/null"], "serving_dir needs the directory '/dev/null'"),
        (
            "good.csv",
            ["--pipeline-root", "/dev/null"],
            "pipeline_root needs the directory '/dev/null/gate'",
        ),
        ("none.csv", [], "none.csv: No such file or directory; give another file"),
        ("good.csv", ["--junit", "no/gate.xml"], "cannot save the checks to no/gate.xml: expect"),
        ("good.csv", ["--markdown", "/"], "cannot save the checks to /: expected a regular f"),
    ],
)
def test_what_does_not_fit_is_one_line_ends_with_2_and_decides_nothing(
    name: str, more: list[str], line: str, words: Words, files: Path, capfd: Captured
) -> None:
    assert main([*words(name, *more), "--json"]) == 2
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert line in error
    assert shown.err == f"tfx-mnist: {error}\n"
    assert not (files / "root").exists()


def test_ids_that_are_not_utf_8_are_one_line(words: Words, files: Path, capfd: Captured) -> None:
    ids = [*(b"a%d" % row for row in range(299)), b"\xff\xfe"]
    write(files / "bytes.npz", {**table(300), "id": ids})
    assert main(words("bytes.npz")) == 2
    assert capfd.readouterr().err == (
        f"tfx-mnist: {files / 'bytes.npz'}, row 300: id is b'\\xff\\xfe', expected text in UTF-8: "
        "write it as text\n"
    )


def test_the_checks_are_written_for_a_ci(words: Words, files: Path) -> None:
    places = {"--junit": files / "gate.xml", "--markdown": files / "gate.md"}
    more = [str(word) for pair in places.items() for word in pair]
    assert main([*words("worse.npz"), *more]) == 3
    suite = ElementTree.parse(places["--junit"]).getroot()[0]
    assert int(suite.get("failures")) >= 1
    assert int(suite.get("skipped")) == 5
    assert places["--markdown"].read_text().startswith("### gate check: refused, ")
    assert not list(files.glob(".*"))


@pytest.mark.parametrize(
    ("given", "written", "read"),
    [
        (["--predictions", "in.csv", "--markdown", "./in.csv"], "--markdown", "--predictions"),
        (["--junit", "in.csv", "--predictions", "in.csv"], "--predictions", "--junit"),
        (
            ["--predictions", "p.csv", "--junit", "out", "--markdown", "out"],
            "--markdown",
            "--junit",
        ),
        (["--dataset", "csv:in.csv", "--junit", "in.csv"], "--junit", "--dataset"),
        (["--set", "dataset=csv:in.csv", "--junit", "in.csv"], "--junit", "dataset in --set"),
    ],
)
def test_what_a_command_writes_is_no_file_that_it_reads_or_writes_otherwise(
    given: list[str],
    written: str,
    read: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("predictions")
    assert main(["gate", "check", *given]) == 2
    assert f"tfx-mnist: {written} is '" in (said := capfd.readouterr().err)
    assert f"expected another file than that of {read}; see" in said
    assert [(tmp_path / name).read_text() for name in os.listdir()] == ["predictions"]


def test_an_error_is_written_for_a_ci_too(words: Words, files: Path) -> None:
    (files / "gate.xml").write_text("of an earlier run")
    assert main([*words("none.csv"), "--junit", str(files / "gate.xml")]) == 2
    suite = ElementTree.parse(files / "gate.xml").getroot()[0]
    assert suite.get("errors") == "1"
    assert "No such file" in suite[0].find("error").get("message")


def test_tensorflow_is_not_imported(words: Words) -> None:
    heavy = {"tensorflow", "tfx", "keras", "apache_beam"}
    files = ("good.csv", "good.parquet", "worse.npz")
    said, imported = imported_by(heavy, *map(words, files))
    assert said.endswith("\nrefused\n")  # and nothing on stderr
    assert imported == [[]] * len(files)
