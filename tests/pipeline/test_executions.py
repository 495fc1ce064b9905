"""Executions as TFX records them, in a database that is written here."""

import contextlib
import datetime
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb2

from pipeline.executions import NoMetadata, Written, executions_of
from pipeline.runners.artifact_digests import digest

CODE = "c" * 64


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: the first one trains twice, and the second takes its model from the cache."""
    path = tmp_path_factory.mktemp("metadata") / "metadata.sqlite"
    config = pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    store = MetadataStore(config)
    kinds = {
        name: store.put_context_type(pb2.ContextType(name=name))
        for name in ("pipeline_run", "node")
    }
    trainer = store.put_execution_type(pb2.ExecutionType(name="tfx.components.Trainer"))
    model = store.put_artifact_type(pb2.ArtifactType(name="Model"))
    (made,) = store.put_artifacts([pb2.Artifact(type_id=model, uri="root/model/1")])
    artifact = pb2.Artifact(id=made, type_id=model, uri="root/model/1")
    artifact.custom_properties["files_sha256"].string_value = "d" * 64
    node = pb2.Context(type_id=kinds["node"], name="tfx-mnist.pets.Trainer")
    for run, state in (
        ("run-1", pb2.Execution.FAILED),
        ("run-1-again", pb2.Execution.COMPLETE),
        ("run-10", pb2.Execution.CACHED),
    ):
        execution = pb2.Execution(type_id=trainer, last_known_state=state)
        execution.custom_properties["code"].string_value = CODE
        event = pb2.Event(type=pb2.Event.OUTPUT)
        event.path.steps.add().key = "model"
        outputs = [] if state == pb2.Execution.FAILED else [(artifact, event)]
        context = pb2.Context(type_id=kinds["pipeline_run"], name=run)
        execution.id, *_ = store.put_execution(
            execution, outputs, [context, node], reuse_context_if_already_exist=True
        )
        time.sleep(0.1)
        execution.custom_properties["changed"].string_value = "yes"
        store.put_executions([execution])
    return path


def test_the_executions_of_a_run_and_of_its_further_attempts_are_found(database: Path) -> None:
    failed, made = executions_of(database, "run-1")
    assert (failed.component, failed.state, failed.outputs) == ("Trainer", "failed", ())
    assert failed.made_by == failed.id
    assert (made.state, made.code, made.made_by) == ("complete", CODE, made.id)
    assert made.outputs == (Written("model", "root/model/1", "d" * 64),)
    assert made.started.endswith("+00:00")
    age = time.time() - datetime.datetime.fromisoformat(made.started).timestamp()
    assert 0.05 < made.seconds < age < 300


def test_no_time_is_known_of_an_execution_during_which_the_clock_was_set_back(
    database: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(database, tmp_path)
    with contextlib.closing(sqlite3.connect(copy)) as opened, opened:
        begins = "create_time_since_epoch"
        opened.execute(f"UPDATE Execution SET last_update_time_since_epoch = {begins} - 1000")
    assert [one.seconds for one in executions_of(Path(copy), "run-1")] == [None, None]


def test_what_came_from_the_cache_names_who_made_it(database: Path) -> None:
    (cached,) = executions_of(database, "run-10")
    _, made = executions_of(database, "run-1")
    assert (cached.state, cached.made_by) == ("cached", made.id)
    assert executions_of(database, "run-2") == []


def test_an_artifact_without_files_has_no_digest(tmp_path: Path, database: Path) -> None:
    (tmp_path / "empty").mkdir()
    copy, of_nothing = shutil.copy(database, tmp_path), digest(tmp_path / "empty")
    with contextlib.closing(sqlite3.connect(copy)) as opened, opened:
        opened.execute("UPDATE ArtifactProperty SET string_value = ?", [of_nothing])
    (cached,) = executions_of(Path(copy), "run-10")
    assert cached.outputs == (Written("model", "root/model/1", None),)


def test_a_database_that_cannot_be_read_is_one_line(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoMetadata, match=r"there is no .*: give the --pipeline-root of the run"):
        executions_of(tmp_path / "metadata.sqlite", "run-1")
    (tmp_path / "damaged").write_bytes(b"no database" * 100)
    with pytest.raises(NoMetadata, match="damaged cannot be read: file is not a database"):
        executions_of(tmp_path / "damaged", "run-1")
    (tmp_path / "empty").touch()
    with pytest.raises(NoMetadata, match="no such table"):
        executions_of(tmp_path / "empty", "run-1")
    with contextlib.closing(sqlite3.connect(database)) as opened:
        ((size,),) = opened.execute("PRAGMA page_size")
        ((page,),) = opened.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ExecutionProperty'"
        )
    content = database.read_bytes()
    begin, end = (page - 1) * size, page * size
    (tmp_path / "torn").write_bytes(content[:begin] + bytes(size) + content[end:])
    with pytest.raises(NoMetadata, match="torn cannot be read: ") as refused:
        executions_of(tmp_path / "torn", "run-1")
    assert "\n" not in str(refused.value)
    assert caplog.records == []
