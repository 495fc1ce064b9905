"""One change at a time, safe from a power cut, which cleans up after the killed ones before it."""

import errno
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from components.serving_dir import ServingDirError, prune, publish, reject, rollback
from components.serving_dir.changing import REMOVED_PREFIX, STAGING_PREFIX, locked
from tests.components.serving_dir.samples import (
    hidden_in,
    hold_letter,
    letter_model,
    numbers,
    publish_letters,
    write_model,
)

Change = partial[object]


@pytest.fixture(params=["publish", "rollback", "prune", "hold", "reject"])
def change(request: pytest.FixtureRequest, serving: Path) -> Change:
    """A change of a serving directory that holds the models x, a and b, and in which d waits."""
    for letter in "ac":
        write_model(letter_model(serving.parent, letter), {"variables/index": b"index"})
    publish_letters(serving, "xab")
    hold_letter(serving, "d", "old")
    return {
        "publish": partial(publish, letter_model(serving.parent, "c"), serving, {}),
        "rollback": partial(rollback, serving),
        "prune": partial(prune, serving, 1),
        "hold": partial(hold_letter, serving, "c", "new"),
        "reject": partial(reject, serving, "old", by="Ann", reason="why"),
    }[request.param]


def test_a_lock_that_another_process_holds_is_one_line(
    change: Change, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.serving_dir.changing.LOCK_TIMEOUT_S", 0.05)
    message = r"cannot .*: another process has held the lock .* 0.05 s: wait until it ends, and "
    with locked(serving), pytest.raises(ServingDirError, match=message):
        change()
    assert numbers(serving) == [1, 2, 3]
    change()


def test_leftovers_of_killed_changes_are_removed(change: Change, serving: Path) -> None:
    for name in (f"{STAGING_PREFIX}dead", f"{REMOVED_PREFIX}1-dead"):
        (serving / name / "variables").mkdir(parents=True)
    model = letter_model(serving.parent, "a")
    (serving / f"{STAGING_PREFIX}link").symlink_to(model)
    (serving / f"{STAGING_PREFIX}file").touch()
    change()
    assert set(hidden_in(serving)) <= {".pending-old", ".pending-new"}
    assert model.is_dir()


def test_a_leftover_that_cannot_be_removed_stops_no_change(
    change: Change,
    serving: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leftover = serving / f"{STAGING_PREFIX}dead"
    leftover.mkdir()
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if source == leftover:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    change()
    assert leftover.is_dir()
    assert f"cannot remove {leftover}: Invalid cross-device link" in caplog.text


def test_what_appears_is_on_disk_before_its_name_and_what_goes_goes_after_it(
    change: Change, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}  # when a file or directory was last changed that is on disk
    held = []
    fsync, rename, rmtree = os.fsync, os.rename, shutil.rmtree

    def is_on_disk(path: Path) -> bool:
        found = path.stat()
        return synced.get(found.st_ino) == found.st_mtime_ns

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_mtime_ns

    def watched_rename(source: Path, target: Path) -> None:
        if source.name.startswith(STAGING_PREFIX):
            held.extend(map(is_on_disk, (source, *source.rglob("*"))))
        rename(source, target)

    def watched_rmtree(path: Path, **options: bool) -> None:
        if path.name.startswith(f"{REMOVED_PREFIX}1-"):
            held.append(is_on_disk(serving))
        rmtree(path, **options)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(shutil, "rmtree", watched_rmtree)
    change()
    assert all(held)
    assert bool(held) is (change.func is not reject)
