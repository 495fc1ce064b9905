"""Counting decisions on a test set: each once, whatever happens to the process or the disk."""

import fcntl
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import LOG_NAME, ServingDirError, publish
from components.serving_dir.decisions import Counted, register
from components.serving_dir.log import Decision, Lost, read_log
from tests.components.serving_dir.samples import NOON, letter_model


def decision(test: str = "mnist", model: str = "m1", policy: str = "p1") -> Decision:
    return Decision(
        test_digest=test, model_digest=model, baseline_digest=None, policy_digest=policy
    )


def number(directory: Path, *, run_id: str = "run", **changes: str) -> int:
    return register(directory, decision(**changes), run_id=run_id).number


def test_decisions_on_one_test_set_are_counted(tmp_path: Path) -> None:
    assert [number(tmp_path, model=f"m{index}") for index in range(3)] == [1, 2, 3]


def test_another_test_set_has_a_count_of_its_own(tmp_path: Path) -> None:
    number(tmp_path, model="m1")
    assert number(tmp_path, test="fashion", model="m1") == 1
    assert number(tmp_path, model="m2") == 2


def test_the_same_decision_again_keeps_its_number(tmp_path: Path) -> None:
    number(tmp_path, model="m1")
    number(tmp_path, model="m2")
    before = (tmp_path / LOG_NAME).read_bytes()
    assert register(tmp_path, decision(model="m1"), run_id="another") == Counted(1, lost=0)
    assert (tmp_path / LOG_NAME).read_bytes() == before


def test_the_same_model_under_other_thresholds_is_another_decision(tmp_path: Path) -> None:
    number(tmp_path, policy="p1")
    assert number(tmp_path, policy="p2") == 2


def test_the_log_says_when_and_by_which_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.serving_dir.decisions.utc_now", lambda: NOON)
    number(tmp_path / "new" / "directory", run_id="run-7")
    (line,) = (tmp_path / "new" / "directory" / LOG_NAME).read_text().splitlines()
    assert json.loads(line) == {
        "at": NOON,
        "run_id": "run-7",
        "test_digest": "mnist",
        "model_digest": "m1",
        "baseline_digest": None,
        "policy_digest": "p1",
    }


def test_the_log_its_name_and_its_directories_names_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    directory = tmp_path / "new" / "serving"
    number(directory)
    log = directory / LOG_NAME
    assert synced == [str(path) for path in (tmp_path, tmp_path / "new", log, directory)]


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServingDirError, match=r"cannot write the decision to .*: Not a directory"):
        number(tmp_path / "file" / "serving")


def release(directory: Path, number: object, *, test: str = "mnist") -> None:
    """Publishes a model as the decision with that number on a test set releases it."""
    versions = len(list(directory.glob("[0-9]")))
    record = {
        "dataset": {"splits": {"test": {"rows": 9, "class_counts": [9], "digest": test}}},
        "checks": [{"name": "floor", "actual": 0.99}, {"name": "test_budget", "actual": number}],
    }
    publish(letter_model(directory.parent, chr(ord("a") + versions)), directory, record)


def test_decisions_that_were_lost_count_because_a_version_tells_of_them(tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    for index in range(3):
        number(serving, model=f"m{index}")
    release(serving, 3)
    assert register(serving, decision(model="m3"), run_id="run") == Counted(4, lost=0)

    (serving / LOG_NAME).unlink()
    assert register(serving, decision(model="m4"), run_id="run") == Counted(4, lost=3)
    assert [number(serving, model=name) for name in ("m4", "m5", "m4")] == [4, 5, 4]
    assert read_log(serving)[0] == Lost("mnist", 3)
    assert number(serving, test="fashion") == 1

    # A copy from before the last decision.
    log = serving / LOG_NAME
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    release(serving, 5)
    assert number(serving, model="m6") == 6


@pytest.mark.parametrize("actual", [None, "3", 2.5, True, -1, [3]])
def test_what_a_version_does_not_say_in_whole_numbers_counts_for_nothing(
    tmp_path: Path, actual: object
) -> None:
    release(tmp_path / "serving", actual)
    assert number(tmp_path / "serving") == 1


@pytest.mark.parametrize("checks", [None, 3, {"name": "test_budget", "actual": 3}, [3]])
def test_checks_of_a_version_in_another_form_count_for_nothing(
    tmp_path: Path, checks: object
) -> None:
    serving = tmp_path / "serving"
    splits = {"test": {"rows": 9, "class_counts": [9], "digest": "mnist"}}
    record = {"dataset": {"splits": splits}, "checks": checks}
    publish(letter_model(tmp_path, "a"), serving, record)
    assert number(serving) == 1


def _register_many(directory: Path, process: int, numbers: Any) -> None:
    for index in range(20):
        numbers.put(number(directory, model=f"{process}-{index}"))


def test_processes_at_once_lose_no_decision_and_get_no_number_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    numbers = context.SimpleQueue()
    processes = [
        context.Process(target=_register_many, args=(tmp_path, process, numbers))
        for process in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(numbers.get() for _ in range(80)) == [*range(1, 81)]
    assert number(tmp_path, model="last") == 81


def test_whether_the_log_can_be_read_is_known_before_a_decision(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []
    number(tmp_path)
    assert read_log(tmp_path) == [decision()]
    with (tmp_path / LOG_NAME).open("a") as log:
        log.write("no JSON\n")
    with pytest.raises(ServingDirError, match=r"line 2 of .* is damaged"):
        read_log(tmp_path)
    (tmp_path / LOG_NAME).unlink()
    (tmp_path / LOG_NAME).mkdir()
    with pytest.raises(ServingDirError, match=r"cannot read what was decided .*: Is a directory"):
        read_log(tmp_path)


def test_a_log_that_another_process_holds_is_an_error_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number(tmp_path, model="first")
    monkeypatch.setattr("components.serving_dir.log.LOCK_S", 0.1)
    with (tmp_path / LOG_NAME).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServingDirError, match="another process has held the lock"):
            number(tmp_path, model="second")
    assert number(tmp_path, model="third") == 2
