"""What the local runner refuses before anything runs."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.runners import local
from pipeline.runners.errors import CannotStart
from pipeline.runners.locking import locked
from trainer.hparams import HParams


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


def test_a_second_run_on_one_root_ends_at_once_with_1(config: RunConfig, root: Path) -> None:
    with locked(root):
        error = refused(config)
    assert (error.exit_code, error.message[:19]) == (1, "another run is at w")
    assert list(root.iterdir()) == []


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
