import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import Pending, reject
from pipeline import records
from pipeline.records import UNFINISHED, UNREADABLE
from pipeline.result import FAILED, HELD, REFUSED, RELEASED, Waiting
from tests.components.serving_dir.samples import hold_letter
from tests.pipeline.report.runs import FAILED_RUN, REFUSED_RUN, RELEASED_RUN

RUN_ID, LATER = "20261125T101500Z-3f2a", "20261127T101500Z-3f2a"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pipeline root with runs of every kind."""
    reports, logs = tmp_path / "reports", tmp_path / "logs"
    logs.mkdir()
    for day, run in enumerate((RELEASED_RUN, REFUSED_RUN, FAILED_RUN), start=20):
        run_id = f"202611{day}T101500Z-3f2a"
        (logs / f"{run_id}.log").touch()
        records.write(dataclasses.replace(run, run_id=run_id), reports)
    (reports / "20261120T101500Z-3f2a.html").touch()
    (logs / "20261123T101500Z-3f2a.log").touch()  # of a run that was killed
    return tmp_path


def write(root: Path, content: str) -> Path:
    """A record that somebody else wrote."""
    file = root / "reports" / f"{RUN_ID}.json"
    file.parent.mkdir()
    file.write_text(content)
    return file


def test_all_runs_are_read_the_newest_first(root: Path) -> None:
    found = records.read_all(root)
    assert [run.outcome for run in found] == [UNFINISHED, FAILED, REFUSED, RELEASED]
    released = found[-1]
    assert (released.dataset, released.accuracy, released.version) == ("pets", 0.97, 3)
    assert released.started.isoformat() == "2026-11-20T10:15:00+00:00"
    assert released.seconds == 30.0
    assert released.report == root / "reports" / "20261120T101500Z-3f2a.html"
    assert found[1].report is None
    assert found[0].log == root / "logs" / "20261123T101500Z-3f2a.log"


def test_a_run_says_why_it_ended(root: Path) -> None:
    unfinished, failed, refused, released = records.read_all(root)
    assert released.reason == ""
    assert refused.reason.startswith("floor: accuracy 0.9700; its ")
    assert "more)" not in refused.reason  # one check failed
    assert failed.reason == FAILED_RUN.error
    assert "was killed" in unfinished.reason


def test_a_folder_that_somebody_names_after_a_run_is_none(tmp_path: Path) -> None:
    for place in ("logs", "reports"):
        (tmp_path / place / RUN_ID).mkdir(parents=True)
    assert records.read_all(tmp_path) == []


def test_a_run_in_containers_that_was_killed_begins_anew(root: Path) -> None:
    assert records.read_all(root)[0].reason.endswith("goes on from what is finished")
    (root / "kubeflow" / "20261123T101500Z-3f2a").mkdir(parents=True)
    assert records.read_all(root)[0].reason.endswith("the same command begins anew")


def test_a_report_without_a_record_is_no_run_at_work(tmp_path: Path) -> None:
    for folder, suffix in (("logs", "log"), ("reports", "html")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{RUN_ID}.{suffix}").touch()
    (run,) = records.read_all(tmp_path)
    assert run.outcome == UNREADABLE
    assert run.reason.startswith("its report says how it ended")


def test_a_held_run_says_where_to_look(tmp_path: Path) -> None:
    held = dataclasses.replace(RELEASED_RUN, outcome=HELD, release=None)
    records.write(held, tmp_path / "reports")
    (run,) = records.read_all(tmp_path)
    assert (run.outcome, run.version) == (HELD, None)
    assert "waited for approval" in run.reason


def test_a_held_run_whose_model_is_gone_says_so(tmp_path: Path) -> None:
    path = tmp_path / "serving" / f".pending-{RUN_ID}"
    held = dataclasses.replace(RELEASED_RUN, outcome=HELD, release=None)
    records.write(
        dataclasses.replace(held, pending=Waiting(RUN_ID, str(path))), tmp_path / "reports"
    )
    path.mkdir(parents=True)
    assert "tfx-mnist versions" in records.read_all(tmp_path)[0].reason
    path.rmdir()
    gone = f"the model waited for approval in {path}, which is gone: run again"
    assert records.read_all(tmp_path)[0].reason == gone


def test_decisions_are_those_of_a_pipeline_root_that_was_moved_or_copied(tmp_path: Path) -> None:
    root, serving = tmp_path / "root", tmp_path / "root" / "serving" / "mnist"
    for run_id, letter in ((RUN_ID, "a"), (LATER, "b")):
        assert isinstance(hold_letter(serving, letter, run_id), Pending)
        waiting = Waiting(run_id, str(serving / f".pending-{run_id}"))
        held = dataclasses.replace(RELEASED_RUN, run_id=run_id, outcome=HELD, release=None)
        records.write(dataclasses.replace(held, pending=waiting), root / "reports")
    reject(serving, RUN_ID, by="Ann", reason="worse")
    copied = shutil.copytree(root, tmp_path / "copied")
    reject(serving, LATER, by="Bea", reason="in the original alone")
    original_there = records.read_all(copied)
    shutil.rmtree(root)
    for waits, rejected in (original_there, records.read_all(copied)):
        assert "tfx-mnist versions" in waits.reason
        assert re.fullmatch("rejected by Ann at 2.*: worse", rejected.reason)


def test_decisions_in_another_serving_directory_are_not_taken_for_those_on_a_run(
    tmp_path: Path,
) -> None:
    root, other = tmp_path / "root", tmp_path / "other" / "serving" / "mnist"
    for serving, run_id in ((root / "serving" / "mnist", LATER), (other, RUN_ID)):
        hold_letter(serving, "a", run_id)
    reject(root / "serving" / "mnist", LATER, by="Ann", reason="worse")
    gone = tmp_path / "gone" / "serving" / "pets" / f".pending-{RUN_ID}"
    for path, reason in ((other / gone.name, "tfx-mnist versions"), (gone, f"in {gone}, which is")):
        run = dataclasses.replace(RELEASED_RUN, outcome=HELD, release=None)
        waiting = Waiting(RUN_ID, str(path))
        records.write(dataclasses.replace(run, pending=waiting), root / "reports")
        assert reason in records.read_all(root)[0].reason


def test_a_run_says_what_was_overridden_for_its_version(tmp_path: Path) -> None:
    made = {"keys": ["gate.floor"], "reason": "few\nimages"}
    run = dataclasses.replace(RELEASED_RUN, run_id=RUN_ID, overrides=made)
    records.write(run, tmp_path / "reports")
    assert records.read_all(tmp_path)[0].reason == "overrides gate.floor: few images"
    refused = dataclasses.replace(REFUSED_RUN, run_id=RUN_ID, overrides=made)
    records.write(refused, tmp_path / "reports")
    assert "overrides" not in records.read_all(tmp_path)[0].reason


def test_several_failed_checks_are_counted(tmp_path: Path) -> None:
    checks = tuple(dataclasses.replace(check, passed=False) for check in REFUSED_RUN.checks[:2])
    records.write(dataclasses.replace(REFUSED_RUN, checks=checks), tmp_path / "reports")
    (run,) = records.read_all(tmp_path)
    assert run.reason.endswith(" (and 1 more)")


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"outcome": "fine"}', '{"outcome": ["refused"]}', "[" * 100_000],
    ids=["a list", "cut", "another outcome", "a list in it", "deep"],
)
def test_what_is_no_record_is_said_to_be_unreadable(content: str, tmp_path: Path) -> None:
    write(tmp_path, content).with_suffix(".html").touch()
    (run,) = records.read_all(tmp_path)
    assert (run.run_id, run.outcome) == (RUN_ID, UNREADABLE)
    assert f"{RUN_ID}.json cannot be read" in run.reason
    assert run.report is not None


def test_a_directory_in_the_place_of_a_record_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "reports" / f"{RUN_ID}.json").mkdir(parents=True)
    assert [run.outcome for run in records.read_all(tmp_path)] == [UNREADABLE]


@pytest.mark.parametrize("accuracy", [0.0, 1.0, 1])
def test_the_lowest_and_the_highest_accuracy_are_known(accuracy: float, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"outcome": "refused", "metrics": {"accuracy": accuracy}}))
    assert [run.accuracy for run in records.read_all(tmp_path)] == [accuracy]


@pytest.mark.parametrize(
    "odd",
    [
        {
            "metrics": {"accuracy": "NaN"},
            "release": {"version": True},
            "dataset": [],
            "seconds": {"total": -1},
            "gate": {"checks": [3]},
            "error": 5,
        },
        {
            "metrics": {"accuracy": 1.5},
            "dataset": {"name": 3},
            "seconds": {"total": True},
        },
    ],
)
def test_values_of_other_types_count_as_not_known(odd: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"outcome": "refused", **odd}))
    (run,) = records.read_all(tmp_path)
    assert (run.outcome, run.reason) == ("refused", "")
    assert (run.dataset, run.accuracy, run.version, run.seconds) == (None, None, None, None)


def test_a_held_run_of_an_odd_id_is_shown(tmp_path: Path) -> None:
    odd = {"outcome": "held", "pending": {"path": f"{tmp_path}/serving/x", "run_id": [1]}}
    write(tmp_path, json.dumps(odd))
    assert [run.outcome for run in records.read_all(tmp_path)] == ["held"]


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    for name in ("index.html", "notes.json", "20269999T999999Z-3f2a.json", "<b>.json"):
        (tmp_path / "reports" / name).write_text("{}")
    assert records.read_all(tmp_path) == []
    assert records.read_all(tmp_path / "nowhere") == []


def test_a_record_is_the_object_of_json(tmp_path: Path) -> None:
    records.write(RELEASED_RUN, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name == f"{RELEASED_RUN.run_id}.json"
    assert json.loads(file.read_text()) == json.loads(json.dumps(RELEASED_RUN.to_dict()))
