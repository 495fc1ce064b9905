"""Rolling back: which version becomes live, what is withdrawn by it, and what is refused."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    MANIFEST_NAME,
    ServingDirError,
    digest_of,
    live,
    newest_valid,
    rollback,
    verify,
    versions,
    withdrawn_digests,
)
from components.serving_dir.changing import locked
from components.serving_dir.log import Withdrawal
from tests.components.serving_dir.samples import (
    NOON,
    damage,
    letter_model,
    letters_in,
    marks_in,
    numbers,
    publish_letters,
)
from tests.limits import full_disk


def digest(serving: Path, letter: str) -> str:
    return digest_of(letter_model(serving.parent, letter))


def release_of(serving: Path, number: int) -> dict:
    return json.loads((serving / str(number) / MANIFEST_NAME).read_text())["release"]


# --- what becomes live ---------------------------------------------------------------------------


def test_the_version_before_becomes_the_next_one(serving: Path) -> None:
    publish_letters(serving, "ab")
    done = rollback(serving)

    assert (done.version, done.path, done.restores, done.withdraws) == (3, serving / "3", 1, 2)
    assert done.model_digest == digest(serving, "a")
    assert letters_in(serving) == {1: "a", 2: "b", 3: "a"}
    assert verify(live(serving)) == ()
    assert live(serving).number == newest_valid(serving).number == 3


@pytest.mark.usefixtures("at_noon")
def test_the_manifest_holds_the_restored_release_and_what_was_done(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving, reason="too many sevens")

    manifest = live(serving).manifest
    assert manifest.published_at == NOON
    # Without `run_key` and `release_token`: a later identical run must not take it for its own.
    assert manifest.release == {
        "letter": "a",
        "rollback": {
            "restores": 1,
            "withdraws": 2,
            "withdrawn_digest": digest(serving, "b"),
            "reason": "too many sevens",
        },
    }
    assert release_of(serving, 1)["run_key"] == "k"


@pytest.mark.usefixtures("at_noon")
def test_the_live_version_is_withdrawn_with_reason_and_time(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving, reason="too many sevens")

    mark = Withdrawal(2, digest(serving, "b"), 3, "too many sevens", NOON)
    assert [version.withdrawn for version in versions(serving)] == [None, mark, None]
    assert withdrawn_digests(serving) == {digest(serving, "b"): mark}
    assert str(mark) == f"withdrawn by version 3 at {NOON}: too many sevens"


def test_rolling_back_twice_withdraws_twice(serving: Path) -> None:
    publish_letters(serving, "abc")
    assert rollback(serving).restores == 2
    assert rollback(serving).restores == 1
    assert letters_in(serving) == {1: "a", 2: "b", 3: "c", 4: "b", 5: "a"}
    # 2 by its model, which is that of 4.
    assert marks_in(serving) == {2: 5, 3: 4, 4: 5}
    assert set(withdrawn_digests(serving)) == {digest(serving, "b"), digest(serving, "c")}


def test_without_a_rollback_nothing_is_withdrawn(serving: Path) -> None:
    publish_letters(serving, "aba")
    assert (marks_in(serving), withdrawn_digests(serving)) == ({}, {})
    assert withdrawn_digests(serving.parent / "none") == {}


def test_a_given_version_becomes_live(serving: Path) -> None:
    publish_letters(serving, "abc")
    assert rollback(serving, 1).restores == 1
    assert letters_in(serving)[4] == "a"
    assert marks_in(serving) == {3: 4}


def test_by_default_damaged_withdrawn_and_equal_models_are_passed_over(serving: Path) -> None:
    publish_letters(serving, "abcde")
    rollback(serving, 2)  # 6 = b, withdraws 5 = e
    damage(serving, 4)
    assert rollback(serving).restores == 3  # not 5 (withdrawn), not 4 (damaged)
    assert rollback(serving).restores == 1  # nor 2, whose model 6 = b was withdrawn as well


def test_a_copy_of_the_live_model_is_passed_over(serving: Path) -> None:
    publish_letters(serving, "abac")
    assert rollback(serving, 3).version == 5  # = a
    assert rollback(serving).restores == 2  # 1 and 3 hold what is live


def test_a_model_that_is_withdrawn_is_so_in_every_version(serving: Path) -> None:
    publish_letters(serving, "aba")
    rollback(serving, 2)
    assert marks_in(serving) == {1: 4, 3: 4}
    (serving / LOG_NAME).unlink()  # as if it had been killed before it wrote there
    assert marks_in(serving) == {1: 4, 3: 4}
    publish_letters(serving, "a")  # past the gate
    assert marks_in(serving) == {1: 4, 3: 4, 5: 4}
    assert newest_valid(serving).number == 4


def test_empty_directories_are_restored(serving: Path) -> None:
    (letter_model(serving.parent, "a") / "assets").mkdir()
    publish_letters(serving, "ab")
    assert (rollback(serving).path / "assets").is_dir()


# --- from a version that is not valid ------------------------------------------------------------


def test_a_damaged_live_version_can_be_left(serving: Path) -> None:
    publish_letters(serving, "ab")
    damage(serving, 2)
    assert rollback(serving).restores == 1
    assert marks_in(serving) == {2: 3}
    assert set(withdrawn_digests(serving)) == {digest(serving, "b")}


def test_without_a_manifest_the_withdrawn_model_is_unknown(serving: Path) -> None:
    publish_letters(serving, "cab")
    for number in ("1", "3"):
        (serving / number / MANIFEST_NAME).write_text("{")
    rollback(serving)
    assert release_of(serving, 4)["rollback"]["withdrawn_digest"] is None
    assert marks_in(serving) == {3: 4}
    assert withdrawn_digests(serving) == {}


@pytest.mark.parametrize("name", ["9", "009"])
def test_an_entry_of_another_tool_can_be_left(name: str, serving: Path) -> None:
    publish_letters(serving, "a")
    (serving / name).mkdir()
    done = rollback(serving)
    assert (done.version, done.restores, done.withdraws) == (10, 1, 9)
    assert marks_in(serving) == {9: 10}


def test_damaged_files_are_repaired_by_an_older_version_of_the_same_model(serving: Path) -> None:
    publish_letters(serving, "aba")
    rollback(serving, 2)  # 4 = b, withdraws a
    damage(serving, 4)
    assert rollback(serving).restores == 2
    assert marks_in(serving)[4] == 5
    # The model itself is not at fault: it is live again.
    assert set(withdrawn_digests(serving)) == {digest(serving, "a")}
    assert newest_valid(serving).number == 5


# --- refusals ------------------------------------------------------------------------------------


def assert_refused(message: str, serving: Path, version: int | None = None) -> None:
    """Asserts a one-line error, and that nothing was changed."""
    before = sorted(serving.rglob("*"))
    with pytest.raises(ServingDirError, match=message) as caught:
        rollback(serving, version)
    assert "\n" not in str(caught.value)
    assert [path for path in sorted(serving.rglob("*")) if path.name != LOCK_NAME] == [
        path for path in before if path.name != LOCK_NAME
    ]


def test_without_any_version_nothing_is_made(serving: Path) -> None:
    assert_refused("there is no version in .*: release a model", serving)
    assert not serving.exists()
    serving.mkdir()
    assert_refused("there is no version in", serving)
    assert list(serving.iterdir()) == []


@pytest.mark.parametrize(
    ("letters", "version", "message"),
    [
        ("a", None, "version 1 in .*: there is no older good version; release a better"),
        ("ab", 7, "there is no version 7 in .*: known are 1, 2"),
        ("ab", 2, "it is live already; choose another"),
        ("aba", 1, "it holds the same model as the live version 3; choose another"),
    ],
)
def test_what_cannot_be_restored_is_refused(
    letters: str, version: int | None, message: str, serving: Path
) -> None:
    publish_letters(serving, letters)
    assert_refused(message, serving, version)


def test_why_no_older_version_is_good_is_said_of_each(serving: Path) -> None:
    publish_letters(serving, "abcb")
    damage(serving, 1)
    rollback(serving, 3, reason="sevens")
    assert_refused(
        r"no older good version \(1 is damaged: file 'saved_model.pb' has SHA-256 \w+, expected "
        r"\w+; 2 is withdrawn by version 5 at .*: sevens; 3 holds the same model as the live "
        r"version 5; 4 is withdrawn by version 5 at",
        serving,
    )


def test_a_damaged_version_is_refused_with_its_files(serving: Path) -> None:
    publish_letters(serving, "ab")
    (serving / "1" / "saved_model.pb").unlink()
    assert_refused("version 1 in .*: it is damaged: file 'saved_model.pb' is missing; ", serving, 1)


def test_a_version_of_another_tool_is_refused(serving: Path) -> None:
    (serving / "1").mkdir(parents=True)
    publish_letters(serving, "a")
    assert_refused("it is damaged: has no manifest.json: not published by this", serving, 1)


@pytest.mark.usefixtures("at_noon")
def test_a_withdrawn_version_is_refused_with_reason_and_time(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving, reason="too many sevens")
    message = (
        r"version 2 in .*: it is withdrawn by version 3 at 2026-11-24T12:00:00\+00:00: "
        "too many sevens; choose another"
    )
    assert_refused(message, serving, 2)


def test_a_copy_of_a_withdrawn_model_is_refused(serving: Path) -> None:
    publish_letters(serving, "abca")
    rollback(serving, 2)
    assert_refused("it is withdrawn by version 5 at .*: no reason given", serving, 1)


@pytest.mark.parametrize("change", [lambda s: publish_letters(s, "c"), rollback])
def test_what_went_live_while_it_waited_for_the_lock_is_not_withdrawn(
    change: Callable[[Path], object], serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "ab")

    @contextlib.contextmanager
    def locked_later(directory: Path) -> Iterator[None]:
        monkeypatch.undo()
        change(directory)
        with locked(directory):
            yield

    monkeypatch.setattr(sys.modules["components.serving_dir.rolling_back"], "locked", locked_later)
    message = "version 3 became live in .* waited, expected version 2: .*; no version was added"
    with pytest.raises(ServingDirError, match=message):
        rollback(serving)
    assert numbers(serving) == [1, 2, 3]


def test_a_full_disk_leaves_nothing(serving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_letters(serving, "ab")
    monkeypatch.setattr(os, "fsync", full_disk)
    assert_refused("cannot roll back .*No space left.*free space .* no version was added", serving)
    assert marks_in(serving) == {}
