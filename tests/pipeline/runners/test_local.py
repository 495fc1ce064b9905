"""What the local runner refuses before anything runs."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.runners import local
from pipeline.runners.errors import CannotStart
from trainer.hparams import HParams

# Holds the lock of the directory that it is given, until its standard input ends.
HOLD = """
import pathlib, sys
from pipeline.runners import local
with local._lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Unwatched:
    """An observer of a run that must not begin."""

    def planned(self, names) -> None:
        raise AssertionError("the run began")

    component_started = component_finished = planned


def refused(config: RunConfig) -> CannotStart:
    with pytest.raises(CannotStart) as raised:
        local.run(config, run_id="run-1", observer=Unwatched())
    assert "\n" not in raised.value.message
    return raised.value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "some" / "root"


@pytest.fixture
def config(root: Path, thirds: str) -> RunConfig:
    training = HParams(per_replica_batch=32)
    return RunConfig(dataset=thirds, pipeline_root=str(root), training=training)


def test_a_second_run_on_one_root_ends_at_once(config: RunConfig, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        error = refused(config)
        assert holder.poll() is None  # it did not wait for the first one to end
        holder.stdin.close()
    assert error.exit_code == 1
    assert error.message == (
        f"another run is at work in {root}: wait for it, or give this one its own --pipeline-root"
    )
    assert list(root.iterdir()) == []


def test_the_lock_of_a_killed_run_is_free(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
        with local._lock(root):
            pass


def test_a_lock_is_free_again_after_a_run_that_raised(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), local._lock(root):
        raise KeyboardInterrupt
    with local._lock(root):
        pass


def test_what_would_block_within_a_run_is_not_taken_for_another_run(root: Path) -> None:
    with pytest.raises(BlockingIOError, match="a full pipe"), local._lock(root):
        raise BlockingIOError("a full pipe")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("no_such_set", "dataset 'no_such_set' is unknown"),
        ("idx:/no/such/folder", "/no/such/folder"),
        ("idx:", "idx:"),
    ],
)
def test_a_bad_source_is_a_users_error_and_leaves_nothing(
    config: RunConfig, root: Path, dataset: str, said: str
) -> None:
    error = refused(dataclasses.replace(config, dataset=dataset))
    assert error.exit_code == 2
    assert said in error.message
    assert not root.parent.exists()


def test_a_damaged_source_leaves_nothing(config: RunConfig, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in Path(config.dataset.removeprefix("idx:")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    labels = folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    error = refused(dataclasses.replace(config, dataset=f"idx:{folder}"))
    assert error.exit_code == 2
    assert "t10k-labels-idx1-ubyte" in error.message
    assert not root.parent.exists()


def test_a_refused_run_leaves_what_was_there(config: RunConfig, root: Path) -> None:
    root.mkdir(parents=True)
    refused(dataclasses.replace(config, dataset="no_such_set"))
    assert root.is_dir()


def test_a_root_that_is_no_directory_is_a_users_error(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    error = refused(dataclasses.replace(config, pipeline_root=str(file)))
    assert error.exit_code == 2
    assert str(file) in error.message
    assert "--pipeline-root" in error.message


def test_a_serving_directory_that_cannot_be_read_is_a_users_error(
    config: RunConfig, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    error = refused(dataclasses.replace(config, serving_dir=str(file)))
    assert error.exit_code == 2
    assert str(file) in error.message
    assert not root.parent.exists()


def test_devices_that_are_not_there_are_a_users_error(config: RunConfig) -> None:
    import tensorflow as tf

    tf.config.list_logical_devices()  # TensorFlow has started, so that it can split no CPU
    error = refused(dataclasses.replace(config, replicas=64))
    assert error.exit_code == 2
    assert "64" in error.message


def test_a_configuration_that_does_not_fit_the_data_is_a_usage_error(config: RunConfig) -> None:
    training = HParams(per_replica_batch=169)  # of 168 training images
    error = refused(dataclasses.replace(config, training=training))
    assert (error.exit_code, error.message[:23]) == (2, "the global batch is 169")
