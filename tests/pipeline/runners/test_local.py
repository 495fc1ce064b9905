"""What the local runner refuses before anything runs."""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from components.serving_dir import LOG_NAME
from pipeline.config import RunConfig
from pipeline.config_model import build
from pipeline.runners import local
from pipeline.runners.failures import CannotStart
from pipeline.runners.locking import locked
from pipeline.runners.metadata_database import require_sound
from tests.pipeline.thirds import LOW_FLOOR
from trainer import training_process
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig


class Unwatched:
    """An observer of a run that must not begin."""

    def planned(self, names) -> None:
        raise AssertionError("the run began")

    component_started = component_finished = planned


def refused(config: RunConfig) -> CannotStart:
    with pytest.raises(CannotStart) as raised:
        local.run(config, run_id="run-1", observer=Unwatched())
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "some" / "root"


@pytest.fixture
def config(root: Path, thirds: str) -> RunConfig:
    training = HParams(per_replica_batch=32)
    return RunConfig(dataset=thirds, pipeline_root=str(root), training=training, gate=LOW_FLOOR)


def test_a_second_run_on_one_root_ends_at_once_with_1(config: RunConfig, root: Path) -> None:
    with locked(root):
        error = refused(config)
    assert (error.exit_code, str(error)[:19]) == (1, "another run is at w")
    assert [path.name for path in root.iterdir()] == [".run.lock"]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("no_such_set", "unknown dataset 'no_such_set': "),
        ("idx:/no/such/folder", "/no/such/folder"),
        ("idx:", "idx:"),
    ],
)
def test_a_bad_source_is_a_users_error_and_leaves_nothing(
    config: RunConfig, root: Path, dataset: str, said: str
) -> None:
    error = refused(dataclasses.replace(config, dataset=dataset))
    assert error.exit_code == 2
    assert said in str(error)
    assert list(root.iterdir()) == []


def test_a_damaged_source_leaves_nothing(config: RunConfig, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in Path(config.dataset.removeprefix("idx:")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    labels = folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    error = refused(dataclasses.replace(config, dataset=f"idx:{folder}"))
    assert error.exit_code == 2
    assert "t10k-labels-idx1-ubyte" in str(error)
    assert list(root.iterdir()) == []


def test_a_root_that_is_no_directory_is_a_users_error(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    error = refused(dataclasses.replace(config, pipeline_root=str(file)))
    assert error.exit_code == 2
    assert str(file) in str(error)
    assert "--pipeline-root" in str(error)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("serving.model_server", "SERVED/gone", "serving.model_server is '"),
        ("serving_dir", "/proc/self/served", "serving_dir needs '/proc/self', "),
        ("serving_dir", "SERVED", "line 1 of SERVED/.decisions.jsonl is damaged"),
        ("serving_dir", "SERVED/.decisions.jsonl", "cannot read the serving directory SERVED/.dec"),
    ],
)
def test_what_would_be_found_out_after_the_training_is_refused_before_the_data_are_prepared(
    config: RunConfig, root: Path, tmp_path: Path, key: str, value: str, said: str
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / LOG_NAME).write_text("no JSON\n")
    value, said = (text.replace("SERVED", str(tmp_path / "served")) for text in (value, said))
    places = {"dataset": config.dataset, "pipeline_root": config.pipeline_root}
    error = refused(build("quick", {**places, key: value}))
    assert (error.exit_code, str(error)[: len(said)]) == (2, said)
    assert list(root.iterdir()) == []


def test_a_configuration_that_does_not_fit_the_data_is_a_usage_error(config: RunConfig) -> None:
    training = HParams(per_replica_batch=169)  # of 168 training images
    error = refused(dataclasses.replace(config, training=training))
    assert (error.exit_code, str(error)[:23]) == (2, "the global batch is 169")


@pytest.mark.parametrize("searching", [False, True])
def test_gpus_that_cannot_be_used_are_a_usage_error_of_a_search_too(
    config: RunConfig, root: Path, monkeypatch: pytest.MonkeyPatch, searching: bool
) -> None:
    monkeypatch.setattr(local, "gpu_files", lambda: ["/dev/nvidia0"])
    error = training_process.TrainingFailed("TensorFlow cannot use them")
    started = mock.Mock(**{"require_devices.side_effect": error})
    monkeypatch.setattr(training_process, "start_early", lambda replicas: started)
    tuning = TuningConfig(enabled=searching)
    found = refused(dataclasses.replace(config, tuning=tuning))
    assert (found.exit_code, str(found)) == (2, "TensorFlow cannot use them")
    assert list(root.iterdir()) == []


def _database(path: Path) -> None:
    """A sound SQLite database of some pages."""
    with contextlib.closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE Artifact (uri TEXT)")
        opened.executemany("INSERT INTO Artifact VALUES (?)", [("u" * 100,)] * 2000)


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _truncated(path: Path) -> None:
    _database(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _overwritten(path: Path) -> None:
    _database(path)
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(8192) + content[16384:])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_garbage, "file is not a database"),
        (_truncated, "database disk image is malformed"),
        (_overwritten, "in database main"),
        (Path.mkdir, "unable to open database file"),
    ],
    ids=["garbage", "truncated", "overwritten", "unreadable"],
)
def test_damaged_metadata_are_named_before_anything_runs(
    config: RunConfig, root: Path, damage: Callable[[Path], None], said: str
) -> None:
    root.mkdir(parents=True)
    damage(root / "metadata.sqlite")
    error = refused(config)
    assert error.exit_code == 2
    assert str(error).startswith(f"cannot use {root}/metadata.sqlite, where earlier runs are")
    assert said in str(error)
    assert "move it away, and all is made again" in str(error)
    assert [path.name for path in root.iterdir()] == ["metadata.sqlite"]


def test_metadata_that_cannot_be_written_to_are_named(config: RunConfig, root: Path) -> None:
    root.mkdir(parents=True)
    _database(root / "metadata.sqlite")
    with contextlib.closing(sqlite3.connect(root / "metadata.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in str(refused(config))


def test_a_full_disk_that_the_look_at_the_metadata_meets_is_a_failure(
    config: RunConfig, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.mkdir(parents=True)
    _garbage(root / "metadata.sqlite")
    monkeypatch.setattr("pipeline.runners.metadata_database.no_space", lambda *_: "no space left")
    error = refused(config)
    assert (error.exit_code, str(error)) == (1, "no space left")


@pytest.mark.parametrize("make", [Path.touch, _database])
def test_sound_metadata_are_not_refused(root: Path, make: Callable[[Path], None]) -> None:
    root.mkdir(parents=True)
    make(root / "metadata.sqlite")
    require_sound(RunConfig(pipeline_root=str(root)))
    require_sound(RunConfig(pipeline_root=str(root)))
