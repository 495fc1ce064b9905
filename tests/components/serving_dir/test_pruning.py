"""Pruning: what goes, what stays, and that no withdrawn version is ever forgotten by it."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    Pruned,
    ServingDirError,
    approve,
    prune,
    publish,
    rollback,
)
from components.serving_dir.changing import REMOVED_PREFIX
from components.serving_dir.reading import approved
from tests.components.serving_dir.samples import (
    damage,
    hold_letter,
    letter_model,
    marks_in,
    numbers,
    publish_letters,
)


def pruned(serving: Path, keep: int) -> list[int]:
    return [removed.version for removed in prune(serving, keep).removed]


# --- what goes -----------------------------------------------------------------------------------


def test_the_newest_versions_stay(serving: Path) -> None:
    publish_letters(serving, "abcde")
    assert pruned(serving, 3) == [1, 2]
    assert numbers(serving) == [3, 4, 5]
    assert sorted(path.name for path in serving.iterdir()) == [LOCK_NAME, "3", "4", "5"]


def test_who_approved_a_version_is_known_when_it_is_gone(serving: Path) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b")
    approve(serving, "r1", by="Ann", reason="looked at the errors")
    before = approved(serving)["r1"]
    publish_letters(serving, "cd")
    assert pruned(serving, 1) == [1, 2]
    assert approved(serving) == {"r1": before}
    assert (before.by, before.version) == ("Ann", 2)
    with pytest.raises(ServingDirError, match="was approved already, as version 2, which is not"):
        approve(serving, "r1", by="Bob", reason="again")


def test_with_no_more_than_that_nothing_goes(serving: Path) -> None:
    for number, letter in enumerate("ab", start=1):
        publish_letters(serving, letter)
        assert prune(serving, number) == Pruned((), ())
    assert numbers(serving) == [1, 2]


def test_where_there_is_nothing_nothing_is_made(serving: Path) -> None:
    assert prune(serving, 1) == Pruned((), ())
    assert not serving.exists()


def test_the_next_number_is_the_same_as_without_pruning(serving: Path) -> None:
    publish_letters(serving, "abc")
    prune(serving, 1)
    assert publish(letter_model(serving.parent, "d"), serving, {}).version == 4


def test_it_says_what_went_with_the_bytes_that_it_took(serving: Path) -> None:
    publish_letters(serving, "abc")
    (serving / "1" / "more").write_bytes(b"x" * 1000)
    size = sum(path.stat().st_size for path in (serving / "1").iterdir())

    done = prune(serving, 1)

    (removed,) = done.removed
    assert (removed.version, removed.path, removed.bytes) == (1, serving / "1", size)
    assert done.bytes == size > 1000


def test_a_dry_run_says_the_same_and_writes_nothing(serving: Path) -> None:
    publish_letters(serving, "abcd")
    before = sorted(serving.rglob("*"))
    (serving / LOCK_NAME).unlink()

    said = prune(serving, 1, dry_run=True)

    assert sorted(serving.rglob("*")) == [path for path in before if path.name != LOCK_NAME]
    assert [removed.version for removed in said.removed] == [1, 2]
    assert prune(serving, 1) == said


def test_a_damaged_version_goes_as_well(serving: Path) -> None:
    publish_letters(serving, "abc")
    damage(serving, 1)
    assert pruned(serving, 1) == [1]


# --- what stays ----------------------------------------------------------------------------------


def test_the_version_to_roll_back_to_stays(serving: Path) -> None:
    publish_letters(serving, "abcd")
    damage(serving, 3)
    assert pruned(serving, 1) == [1, 3]
    assert numbers(serving) == [2, 4]
    assert rollback(serving).restores == 2


def test_a_damaged_live_version_stays_with_the_one_that_repairs_it(serving: Path) -> None:
    publish_letters(serving, "abac")
    rollback(serving, 3)  # 5 = a
    damage(serving, 5)
    assert pruned(serving, 1) == [1, 2, 4]
    assert rollback(serving).restores == 3


def test_what_this_tool_did_not_publish_stays_and_is_reported(serving: Path) -> None:
    (serving / "1").mkdir(parents=True)
    (serving / "2").write_bytes(b"a file")
    (serving / "export").mkdir()
    publish_letters(serving, "abcd")
    shutil.copytree(serving / "3", serving / "04")
    shutil.copytree(serving / "3", serving / "9")

    done = prune(serving, 2)

    assert [removed.version for removed in done.removed] == [3]
    assert [version.path.name for version in done.left_alone] == ["1", "2", "04", "9"]
    assert "not published by this tool" in done.left_alone[0].problems[0]
    assert sorted(path.name for path in serving.iterdir()) == [
        *(LOCK_NAME, "04", "1", "2", "4", "5", "6", "9", "export"),
    ]


def test_a_damaged_manifest_is_nobodys(serving: Path) -> None:
    publish_letters(serving, "abc")
    (serving / "1" / "manifest.json").write_text("{")
    done = prune(serving, 1)
    assert (done.removed, numbers(serving)) == ((), [1, 2, 3])
    assert "manifest.json is damaged" in done.left_alone[0].problems[0]


# --- withdrawn versions --------------------------------------------------------------------------


def test_a_withdrawn_version_goes_with_its_mark_when_both_are_old(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving)  # 3 = a, withdraws 2
    publish_letters(serving, "cd")
    assert pruned(serving, 1) == [1, 2, 3]
    assert marks_in(serving) == {}


def test_a_withdrawn_version_that_stays_keeps_its_mark(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving)
    publish_letters(serving, "cd")
    (serving / "2" / "manifest.json").unlink()  # so it is no longer known to be ours, and stays
    assert pruned(serving, 1) == [1]
    assert numbers(serving) == [2, 3, 4, 5]
    assert marks_in(serving) == {2: 3}


def test_a_mark_on_a_mark_stays_too(serving: Path) -> None:
    publish_letters(serving, "abc")
    rollback(serving)  # 4 = b, withdraws 3
    rollback(serving)  # 5 = a, withdraws 4
    publish_letters(serving, "de")
    (serving / "3" / "manifest.json").unlink()
    before = marks_in(serving)
    assert pruned(serving, 1) == [1, 2]
    assert marks_in(serving) == {3: 4, 4: 5}
    assert before == {2: 5, 3: 4, 4: 5}


def test_a_copy_of_a_withdrawn_model_keeps_the_mark(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving)  # 3 = a, withdraws the model b
    publish_letters(serving, "b")  # past the gate
    publish_letters(serving, "c")
    assert pruned(serving, 2) == [1, 2]  # 3 holds the mark of 4
    assert marks_in(serving) == {4: 3}


def test_no_mark_is_lost_at_any_moment(serving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the directory after each rename: what is still there is withdrawn as before."""
    publish_letters(serving, "abc")
    rollback(serving)  # 4 = b
    rollback(serving)  # 5 = a, withdraws the model b, so 2 and 4
    publish_letters(serving, "b")  # 6, past the gate: its mark is in a lower version
    publish_letters(serving, "def")
    before = marks_in(serving)
    assert before == {2: 5, 3: 4, 4: 5, 6: 5}
    left = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        left.append(numbers(serving))
        assert marks_in(serving) == {n: by for n, by in before.items() if n in left[-1]}

    monkeypatch.setattr(os, "rename", watched)
    prune(serving, 1)

    assert len(left) == 7
    assert left[-1] == [8, 9]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, -1])
def test_to_keep_none_is_refused(keep: int, serving: Path) -> None:
    publish_letters(serving, "ab")
    with pytest.raises(ValueError, match=f"keep is {keep}, expected 1 or more"):
        prune(serving, keep)
    assert numbers(serving) == [1, 2]


@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_goes_without_the_log_in_which_a_withdrawal_may_stand(
    dry_run: bool, serving: Path
) -> None:
    publish_letters(serving, "abc")
    (serving / LOG_NAME).write_text("{}\n")
    with pytest.raises(ServingDirError, match=r"line 1 of .* is damaged .*: restore the file"):
        prune(serving, 1, dry_run=dry_run)
    assert numbers(serving) == [1, 2, 3]


def test_files_that_cannot_be_deleted_are_hidden_and_stop_nothing(
    serving: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish_letters(serving, "abcd")

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        assert pruned(serving, 1) == [1, 2]
        assert caplog.text.count("Permission denied") == 2
        assert numbers(serving) == [3, 4]
        assert len(list(serving.glob(f"{REMOVED_PREFIX}*"))) == 2
        patched.undo()
    assert pruned(serving, 1) == []
    assert list(serving.glob(f"{REMOVED_PREFIX}*")) == []


def test_a_version_in_the_layer_of_an_image_stays_and_the_remedy_is_said(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "abc")

    def overlayfs(source: Path, target: Path) -> None:
        """As overlayfs treats a directory of a lower layer, unless redirect_dir is on."""
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))

    monkeypatch.setattr(os, "rename", overlayfs)
    with pytest.raises(
        ServingDirError, match=r"device link \('.*/1'\): keep the serving directory"
    ):
        prune(serving, 1)
    assert numbers(serving) == [1, 2, 3]
