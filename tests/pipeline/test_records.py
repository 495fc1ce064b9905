import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import prune, publish, rollback
from components.serving_dir.log import LOG_NAME
from pipeline import records
from pipeline.records import UNFINISHED, UNREADABLE
from pipeline.result import FAILED, HELD, REFUSED, RELEASED, UNCHANGED, Release, Waiting
from tests.components.serving_dir.samples import letter_model
from tests.pipeline.report.runs import FAILED_RUN, REFUSED_RUN, RELEASED_RUN

RUN_ID = "20261125T101500Z-3f2a"


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


def test_decisions_are_found_in_a_pipeline_root_that_was_moved(tmp_path: Path) -> None:
    root, serving = tmp_path / "root", tmp_path / "root" / "serving" / "mnist"
    publish(letter_model(tmp_path, "a"), serving, {})
    done = publish(letter_model(tmp_path, "b"), serving, {"run_id": RUN_ID})
    released = dataclasses.replace(RELEASED_RUN, release=Release(done.version, str(done.path)))
    waiting = Waiting("20261127T101500Z-3f2a", str(serving / ".pending-20261127T101500Z-3f2a"))
    held = dataclasses.replace(released, run_id=waiting.run_id, outcome=HELD, release=None)
    for run in (released, dataclasses.replace(held, pending=waiting)):
        records.write(run, root / "reports")
    rollback(serving, reason="worse")
    Path(waiting.path).mkdir()
    moved = root.rename(tmp_path / "moved")
    held_run, withdrawn_run = records.read_all(moved)
    assert "tfx-mnist versions" in held_run.reason
    assert re.fullmatch("withdrawn by version 3 at 2.*: worse", withdrawn_run.reason)


def test_decisions_in_another_serving_directory_are_not_taken_for_those_on_a_run(
    tmp_path: Path,
) -> None:
    root, other = tmp_path / "root", tmp_path / "other" / "serving" / "mnist"
    for serving in (root / "serving" / "mnist", other):
        for letter in "ab":
            publish(letter_model(tmp_path, letter), serving, {})
    rollback(root / "serving" / "mnist", reason="worse")
    for serving in (other, tmp_path / "gone" / "mnist"):
        run = dataclasses.replace(RELEASED_RUN, release=Release(2, str(serving / "2")))
        records.write(run, root / "reports")
        assert [run.reason for run in records.read_all(root)] == [""]
    gone = tmp_path / "gone" / "serving" / "pets" / ".pending-1"
    held = dataclasses.replace(run, outcome=HELD, release=None, pending=Waiting("1", str(gone)))
    records.write(held, root / "reports")
    assert f"in {gone}, which is gone" in records.read_all(root)[0].reason


def test_a_run_says_that_its_version_was_withdrawn(tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    for letter, run_id in (("a", RUN_ID), ("b", "20261126T101500Z-3f2a")):
        done = publish(letter_model(tmp_path, letter), serving, {"run_id": run_id})
        release = Release(done.version, str(serving / str(done.version)))
        run = dataclasses.replace(RELEASED_RUN, run_id=run_id, release=release)
        records.write(run, tmp_path / "reports")
    assert [run.reason for run in records.read_all(tmp_path)] == ["", ""]
    again = dataclasses.replace(run, run_id="20261127T101500Z-3f2a", outcome=UNCHANGED)
    records.write(again, tmp_path / "reports")
    rollback(serving, reason="too many\nsevens")
    for remove in (lambda: None, lambda: prune(serving, keep=1)):
        remove()
        third, second, first = records.read_all(tmp_path)
        assert (second.outcome, second.version, first.reason) == (RELEASED, 2, "")
        assert re.fullmatch("withdrawn by version 3 at 2.*: too many sevens", second.reason)
        assert (third.outcome, third.reason) == (UNCHANGED, second.reason)
    (serving / LOG_NAME).write_text("{\n")
    assert [run.reason for run in records.read_all(tmp_path)] == ["", "", ""]


def test_a_number_that_is_used_again_is_not_withdrawn_by_the_log(tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    for letter in "ab":
        publish(letter_model(tmp_path, letter), serving, {})
    rollback(serving, reason="worse")
    for number in "123":  # `rm -r SERVING/*` leaves the log
        shutil.rmtree(serving / number)
    for letter in "cd":
        done = publish(letter_model(tmp_path, letter), serving, {})
    run = dataclasses.replace(RELEASED_RUN, release=Release(done.version, str(done.path)))
    records.write(run, tmp_path / "reports")
    assert [(run.version, run.reason) for run in records.read_all(tmp_path)] == [(2, "")]


def test_the_run_behind_a_withdrawn_copy_says_so_also_when_both_are_pruned(tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    for letter in "abc":
        done = publish(letter_model(tmp_path, letter), serving, {})
        if letter == "b":
            release = Release(done.version, str(done.path))
            run = dataclasses.replace(RELEASED_RUN, run_id=RUN_ID, release=release)
            records.write(run, tmp_path / "reports")
    rollback(serving, reason="worse")  # version 4 is a copy of version 2
    rollback(serving, reason="as bad")
    for remove in (lambda: None, lambda: prune(serving, keep=1)):
        remove()
        (found,) = records.read_all(tmp_path)
        assert re.fullmatch("withdrawn by version 5 at 2.*: as bad", found.reason)


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
