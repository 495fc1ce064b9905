from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact, ArtifactState

from pipeline.runners.artifact_digests import find_damaged, give_up, record


@pytest.fixture
def store() -> metadata_store.MetadataStore:
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    return metadata_store.MetadataStore(config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    (folder / "Split-train").mkdir(parents=True)
    (folder / "Split-train" / "data.gz").write_bytes(b"some rows")
    (folder / "schema").write_bytes(b"a schema")
    return folder


def registered(store: metadata_store.MetadataStore, path: Path) -> Artifact:
    """A live artifact as it is stored."""
    made = standard_artifacts.Examples()
    made.uri, made.state = str(path), ArtifactState.PUBLISHED
    made.type_id = store.put_artifact_type(made.artifact_type)
    (number,) = store.put_artifacts([made.mlmd_artifact])
    return stored(store, number)


def stored(store: metadata_store.MetadataStore, number: int) -> Artifact:
    (message,) = store.get_artifacts_by_id([number])
    artifact = standard_artifacts.Examples()
    artifact.set_mlmd_artifact(message)
    return artifact


def test_what_was_recorded_and_left_alone_is_not_damaged(store, folder):
    artifact = registered(store, folder)
    record(store, [artifact])
    assert find_damaged([stored(store, artifact.id)]) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "schema").write_bytes(b"a_schema"),
        lambda folder: (folder / "Split-train" / "data.gz").write_bytes(b"some r"),
        lambda folder: (folder / "schema").unlink(),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / "schema").rename(folder / "Split-train" / "schema"),
    ],
    ids=["altered", "truncated", "removed", "added", "moved"],
)
def test_any_change_of_the_files_is_damage(store, folder, damage):
    artifact = registered(store, folder)
    record(store, [artifact])
    damage(folder)
    found = find_damaged([stored(store, artifact.id)])
    assert [damaged.uri for damaged in found] == [str(folder)]


def test_one_file_may_be_an_artifact(store, folder):
    artifact = registered(store, folder / "schema")
    record(store, [artifact])
    (folder / "schema").write_bytes(b"another one")
    assert len(find_damaged([stored(store, artifact.id)])) == 1


def test_what_has_no_record_is_taken_for_damaged(store, folder):
    artifact = registered(store, folder)
    assert find_damaged([artifact]) == [artifact]


def test_what_is_given_up_is_not_live_any_more_and_its_files_stay(store, folder):
    artifact = registered(store, folder)
    give_up(store, [artifact])
    assert stored(store, artifact.id).state == ArtifactState.MARKED_FOR_DELETION
    assert (folder / "schema").exists()
