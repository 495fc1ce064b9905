"""`approve` and `reject`: what they print, where the decision is shown, and their exit codes."""

import dataclasses
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import Pending, ServingDirError, live, versions
from pipeline import records
from pipeline.cli.main import main
from pipeline.result import HELD, RunResult, Waiting
from tests.components.serving_dir.samples import hold_letter, letters_in, publish_letters
from tests.pipeline.cli.processes import process

pytestmark = pytest.mark.once  # our own files; test_pending.py approves on both

Captured = pytest.CaptureFixture[str]
RUN, LATER = "20261127T010203Z-3f2a", "20261127T020203Z-3f2a"
OVERRIDES = {"keys": ["gate.max_drop"], "reason": "few test images"}


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Version 1, and a held model of the run `RUN`, which has a record."""
    serving = tmp_path / "serving"
    publish_letters(serving, "a")
    run = RunResult(RUN, HELD, pending=Waiting(RUN, f"{serving}/.pending-{RUN}"))
    records.write(run, tmp_path / "reports")
    # It has the model of that one, which waits already.
    records.write(dataclasses.replace(run, run_id=LATER, error="a bug"), tmp_path / "reports")
    record = {
        "dataset": {"name": "letters", "fingerprint": "5eed"},
        "metrics": {"accuracy": 0.99},
        "checks": [],
        "overrides": OVERRIDES,
    }
    assert isinstance(hold_letter(serving, "b", RUN, **record), Pending)
    return serving


def words(command: str, serving: Path, *more: str) -> list[str]:
    where = ("--serving-dir", str(serving))
    return [command, RUN, *where, "--by", "Ann <a@b>", "--reason", "errors\nlooked at", *more]


def shown(serving: Path, capfd: Captured) -> dict[str, Any]:
    capfd.readouterr()
    assert main(["versions", "--serving-dir", str(serving), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_what_waits_is_listed_with_the_versions(serving: Path, capfd: Captured) -> None:
    main(["versions", "--serving-dir", str(serving)])
    assert capfd.readouterr().out.splitlines()[-2:] == [
        f"waits: {RUN}, accuracy 0.9900, compared with version 1, overrides gate.max_drop: few "
        "test images",
        "`tfx-mnist approve` or `tfx-mnist reject` decides on a model that waits",
    ]
    (one,) = shown(serving, capfd)["pending"]
    assert (one["run_id"], one["overtaken"], one["overrides"]) == (RUN, False, OVERRIDES)
    publish_letters(serving, "c")
    assert shown(serving, capfd)["pending"][0]["overtaken"]
    hold_letter(serving, "d", "r2")
    main(["versions", "--serving-dir", str(serving)])
    first, second, _ = capfd.readouterr().out.splitlines()[-3:]
    assert ", overtaken: it cannot be approved any more, overrides gate.max_drop: few te" in first
    assert second == "waits: r2, accuracy -, compared with version 2"


def test_an_approval_releases_and_is_shown_wherever_the_release_is(
    serving: Path, capfd: Captured
) -> None:
    assert main(words("approve", serving)) == 0
    assert capfd.readouterr() == (f"released: version 2 in {serving}/2\n", "")
    assert letters_in(serving)[2] == "b"
    assert live(serving).manifest.release["approval"]["by"] == "Ann <a@b>"
    listed = shown(serving, capfd)
    assert listed["pending"] == []
    assert listed["versions"][1]["approval"]["reason"] == "errors\nlooked at"
    main(["versions", "--serving-dir", str(serving)])
    last = capfd.readouterr().out.splitlines()[-1]
    remarks = "match  approved by Ann <a@b>: errors looked at; overrides gate.max_drop: few test "
    assert last.endswith(f"{remarks}images")


def test_the_list_of_runs_says_what_was_decided(serving: Path, tmp_path: Path) -> None:
    assert main(words("approve", serving)) == 0
    for run in records.read_all(tmp_path):
        said = "approved by Ann <a@b> as version 2: errors looked at"
        assert (run.outcome, run.version, run.reason) == (HELD, 2, said)


def test_the_same_command_says_what_a_killed_one_could_not(serving: Path, capfd: Captured) -> None:
    assert main(words("approve", serving)) == 0
    capfd.readouterr()
    assert main(words("approve", serving, "--by", "Bob", "--json")) == 0
    fields = json.loads(capfd.readouterr().out)
    assert (fields["created"], fields["by"]) == (False, "Ann <a@b>")


def test_an_approval_of_what_another_run_released_is_kept(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    publish_letters(serving, "b")
    assert main(words("approve", serving)) == 0
    said = f"unchanged: version 2 in {serving}/2 holds this model already\n"
    assert capfd.readouterr() == (said, "")
    assert shown(serving, capfd)["pending"] == []
    assert {run.reason for run in records.read_all(tmp_path)} == {
        "approved by Ann <a@b> as version 2: errors looked at"
    }


def test_a_signal_after_the_release_does_not_hide_it(serving: Path, tmp_path: Path) -> None:
    hook = f"import os, time; os.kill(os.getppid(), {signal.SIGTERM:d}); time.sleep(60)"
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({"hooks": {"released": [sys.executable, "-c", hook]}}))
    ended = process(words("approve", serving, "--config", str(config)))
    assert ended.returncode == 143
    said = f"tfx-mnist: released before that: version 2 in {serving}/2\ntfx-mnist: terminated\n"
    assert ended.stderr == said


def test_json_says_what_was_released(serving: Path, capfd: Captured) -> None:
    assert main(words("approve", serving, "--json")) == 0
    assert json.loads(capfd.readouterr().out) == {
        "serving_dir": str(serving),
        "run_id": RUN,
        "dataset": {"name": "letters", "digest": "5eed"},
        "metrics": {"accuracy": 0.99},
        "release": {"version": 2, "path": f"{serving}/2"},
        "created": True,
        "by": "Ann <a@b>",
        "reason": "errors\nlooked at",
        "error": None,
    }


def test_what_was_overtaken_is_not_released_and_ends_with_3(serving: Path, capfd: Captured) -> None:
    publish_letters(serving, "c")
    assert main(words("approve", serving)) == 3
    error = capfd.readouterr().err
    assert error.startswith("tfx-mnist: the model was compared with version 1 (model ")
    assert error.count("\n") == 1
    assert [version.number for version in versions(serving)] == [1, 2]


def test_a_rejection_is_kept_and_said_in_the_list_of_runs(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    assert main(words("reject", serving)) == 0
    assert capfd.readouterr().out == f"rejected: the model of {RUN}; what is served stays\n"
    for run in records.read_all(tmp_path):
        assert run.version is None
        assert run.reason.startswith("rejected by Ann <a@b> at 2")
    assert "errors\\nlooked at" in (serving / ".decisions.jsonl").read_text()
    assert shown(serving, capfd)["pending"] == []
    assert main(words("approve", serving)) == 1
    assert f"the run {RUN} was rejected by Ann <a@b> at " in capfd.readouterr().err


def test_a_signal_after_the_rejection_does_not_hide_it_and_the_same_command_ends_well(
    serving: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch, survives: None
) -> None:
    def ended(serving_dir: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        module = importlib.import_module("components.serving_dir.pending")  # not the function
        patch.setattr(module, "_clean_up", ended)
        assert main(words("reject", serving)) == 143
    assert capfd.readouterr().err == (
        f"tfx-mnist: rejected before that: the model of {RUN}\ntfx-mnist: terminated\n"
    )
    assert main(words("reject", serving)) == 0
    assert capfd.readouterr() == (f"rejected: the model of {RUN}; what is served stays\n", "")


@pytest.mark.parametrize("command", ["approve", "reject"])
@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        (["--by", " "], 2, "--by is ' ', expected some text; see tfx-mnist "),
        (["--reason", ""], 2, "--reason is '', expected some text; see tfx-mnist "),
        (["--serving-dir", "none"], 2, "the serving directory none does not exist"),
    ],
)
def test_what_does_not_fit_is_one_line(
    command: str, more: list[str], code: int, line: str, serving: Path, capfd: Captured
) -> None:
    assert main(words(command, serving, *more)) == code
    assert capfd.readouterr().err.startswith(f"tfx-mnist: {line}")


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_a_record_of_another_form_is_one_line(command: str, serving: Path) -> None:
    record = serving / f".pending-{RUN}" / "pending.json"
    record.write_text("{}")
    ended = process(words(command, serving))
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert line.startswith(f"tfx-mnist: {record} is damaged")
    assert line.endswith(f": remove {record.parent}, and run again")
    assert letters_in(serving) == {1: "a"}


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_name_and_reason_must_be_given(command: str, serving: Path, capfd: Captured) -> None:
    assert main([command, RUN, "--serving-dir", str(serving), "--by", "Ann"]) == 2
    assert "--reason is missing" in capfd.readouterr().err
    assert main([command, "r9", *words(command, serving)[2:]]) == 1
    assert f"no run 'r9' waits in {serving}; waiting: {RUN}" in capfd.readouterr().err


def test_an_error_after_the_release_does_not_hide_it(
    serving: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def unreadable(directory: Path) -> None:
        raise ServingDirError("cannot read the serving directory: Stale file handle")

    monkeypatch.setattr("pipeline.cli.approval.approved", unreadable)
    assert main(words("approve", serving)) == 1
    assert capfd.readouterr().err == (
        "tfx-mnist: after version 2 was released: cannot read the serving directory: Stale file "
        "handle\n"
    )
    assert letters_in(serving) == {1: "a", 2: "b"}
