import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.limits import full_disk
from trainer.checkpoints import Checkpoint, Checkpoints, training_key

KEY = "0123456789abcdef" * 4
OTHER_KEY = "f" * 64
FOLDER = KEY[:16]


def of_epoch(epoch: int) -> Checkpoint:
    arrays = {"model.0": np.full([2, 3], epoch, np.float32), "model.1": np.array([epoch])}
    return Checkpoint(arrays=arrays, history=[{"loss": 1.0 / (n + 1)} for n in range(epoch)])


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / FOLDER).iterdir())


@pytest.fixture
def notes(caplog):
    """What a person who watches is told."""
    caplog.set_level("INFO", logger="trainer.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_next_process_finds_what_was_saved_and_only_one_that_writes_changes_it(tmp_path):
    Checkpoints(tmp_path, KEY).save(of_epoch(3))
    reader = Checkpoints(tmp_path, KEY, writes=False)
    reader.save(of_epoch(4))
    reader.remove()
    found = reader.latest()
    assert (found.epoch, found.history) == (3, of_epoch(3).history)
    assert list(found.arrays) == ["model.0", "model.1"]
    for name, expected in of_epoch(3).arrays.items():
        assert found.arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(found.arrays[name], expected)


def test_a_new_training_has_none_and_nothing_is_made_for_it(tmp_path, notes):
    assert Checkpoints(tmp_path / "root", KEY).latest() is None
    assert not (tmp_path / "root").exists()
    assert notes() == []


def test_the_last_one_and_the_one_before_are_kept(tmp_path):
    kept = Checkpoints(tmp_path, KEY)
    for epoch in (1, 2, 3, 4):
        kept.save(of_epoch(epoch))
    assert files(tmp_path) == ["000003.checkpoint", "000004.checkpoint"]


# Saves epoch 1, and is killed while it writes epoch 2; host/test_files.py has the other moments.
KILLED = """
import os, pathlib, signal, sys
from tests.trainer.test_checkpoints import KEY, of_epoch
from trainer.checkpoints import Checkpoints

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

kept = Checkpoints(pathlib.Path(sys.argv[1]), KEY)
kept.save(of_epoch(1))
pathlib.Path.replace = killed
kept.save(of_epoch(2))
"""


def test_a_kill_while_one_is_written_leaves_the_one_before(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=300)
    assert done.returncode == -9
    (half, one) = files(tmp_path)
    assert (half.startswith("."), one) == (True, "000001.checkpoint")
    kept = Checkpoints(tmp_path, KEY)
    assert kept.latest().epoch == 1
    kept.save(of_epoch(2))
    assert files(tmp_path) == [half, "000001.checkpoint", "000002.checkpoint"]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"", lambda content: content[:-9] + b"x" * 9],
    ids=["cut", "empty", "altered"],
)
def test_a_damaged_one_is_said_and_the_one_before_is_taken(tmp_path, notes, damage):
    kept = Checkpoints(tmp_path, KEY)
    kept.save(of_epoch(1))
    kept.save(of_epoch(2))
    path = tmp_path / FOLDER / "000002.checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    assert kept.latest().epoch == 1
    (note,) = notes()
    assert note.startswith(f"checkpoint {path} is not used: it is damaged")
    path.unlink()
    path.mkdir()  # cannot be read
    assert kept.latest().epoch == 1


def test_one_that_could_run_code_is_not_taken(tmp_path):
    Checkpoints(tmp_path, KEY).save(Checkpoint({"model.0": np.array([KEY], object)}, [{}]))
    assert files(tmp_path) == ["000001.checkpoint"]
    assert Checkpoints(tmp_path, KEY).latest() is None


def test_one_of_another_training_is_never_taken(tmp_path, notes):
    Checkpoints(tmp_path, OTHER_KEY).save(of_epoch(5))
    (tmp_path / OTHER_KEY[:16]).rename(tmp_path / FOLDER)
    assert Checkpoints(tmp_path, KEY).latest() is None
    (note,) = notes()
    assert "is not used: it is damaged, or of another training" in note


def test_checkpoints_of_other_trainings_are_mentioned_once_and_stay(tmp_path, notes):
    Checkpoints(tmp_path, OTHER_KEY).save(of_epoch(5))
    kept = Checkpoints(tmp_path, KEY)
    assert kept.latest() is None
    (note,) = notes()
    assert note.startswith(f"starting anew: the checkpoints in {tmp_path} are of trainings with")
    kept.save(of_epoch(1))
    kept.remove()
    assert Checkpoints(tmp_path, OTHER_KEY).latest().epoch == 5


def test_a_full_disk_is_one_warning_and_the_next_epoch_tries_again(tmp_path, notes, monkeypatch):
    kept = Checkpoints(tmp_path, KEY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        kept.save(of_epoch(1))
        kept.save(of_epoch(2))
    (note,) = notes()
    assert note.startswith(f"no checkpoint could be written to {tmp_path / FOLDER} (No space left")
    assert files(tmp_path) == []
    kept.save(of_epoch(3))
    assert kept.latest().epoch == 3


def test_a_directory_that_cannot_be_made_is_a_warning(tmp_path, notes):
    (tmp_path / "file").touch()
    Checkpoints(tmp_path / "file", KEY).save(of_epoch(1))
    (note,) = notes()
    assert "(Not a directory)" in note


def test_a_key_tells_apart_whatever_decides():
    images, labels = np.zeros([4, 2, 2], np.float32), np.zeros([4])
    settings = {"seed": 1, "epochs": 5}
    key = training_key(data=[images, labels], settings=settings)
    assert key == training_key(data=[images.copy(), labels], settings={"epochs": 5, "seed": 1})
    others = [
        training_key(data=[images + 1, labels], settings=settings),
        training_key(data=[images.reshape([2, 4, 2]), labels], settings=settings),
        training_key(data=[labels, images], settings=settings),
        training_key(data=[images, labels], settings=settings | {"seed": 2}),
    ]
    assert len({key, *others}) == 5


def test_nothing_is_left_when_the_training_is_over(tmp_path):
    kept = Checkpoints(tmp_path / "root", KEY)
    kept.remove()  # there is none yet
    kept.save(of_epoch(1))
    kept.remove()
    assert not (tmp_path / "root").exists()
