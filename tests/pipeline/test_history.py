"""What ML Metadata answers about an execution."""

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline import history


@pytest.fixture
def store() -> metadata_store.MetadataStore:
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    return metadata_store.MetadataStore(config)


def put_artifact(store: metadata_store.MetadataStore, uri: str, **properties: str | int) -> int:
    kind = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))
    artifact = metadata_store_pb2.Artifact(type_id=kind, uri=uri)
    for name, value in properties.items():
        if isinstance(value, str):
            artifact.custom_properties[name].string_value = value
        else:
            artifact.custom_properties[name].int_value = value
    return store.put_artifacts([artifact])[0]


def put_execution(store: metadata_store.MetadataStore, state: int) -> int:
    kind = store.put_execution_type(metadata_store_pb2.ExecutionType(name="ExampleGen"))
    execution = metadata_store_pb2.Execution(type_id=kind, last_known_state=state)
    return store.put_executions([execution])[0]


def put_event(
    store: metadata_store.MetadataStore, execution: int, artifact: int, kind: int, key: str
) -> None:
    event = metadata_store_pb2.Event(execution_id=execution, artifact_id=artifact, type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    store.put_events([event])


def test_outputs_are_found_by_key_and_inputs_are_not(store) -> None:
    execution = put_execution(store, metadata_store_pb2.Execution.COMPLETE)
    event = metadata_store_pb2.Event
    put_event(store, execution, put_artifact(store, "in"), event.INPUT, "schema")
    put_event(store, execution, put_artifact(store, "out"), event.OUTPUT, "examples")
    put_event(store, execution, put_artifact(store, "more"), event.OUTPUT, "blessing")
    found = history.outputs(store, execution)
    assert {key: [artifact.uri for artifact in found[key]] for key in found} == {
        "examples": ["out"],
        "blessing": ["more"],
    }


def test_an_execution_without_outputs_has_none(store) -> None:
    execution = put_execution(store, metadata_store_pb2.Execution.COMPLETE)
    assert history.outputs(store, execution) == {}


@pytest.mark.parametrize(("state", "cached"), [("CACHED", True), ("COMPLETE", False)])
def test_a_cached_execution_is_told_from_a_complete_one(store, state: str, cached: bool) -> None:
    execution = put_execution(store, metadata_store_pb2.Execution.State.Value(state))
    assert history.was_cached(store, execution) is cached


def test_properties_are_read_by_their_type_and_missing_ones_are_none(store) -> None:
    (artifact,) = store.get_artifacts_by_id([put_artifact(store, "out", name="mnist", pushed=1)])
    assert history.text(artifact, "name") == "mnist"
    assert history.number(artifact, "pushed") == 1
    assert history.text(artifact, "other") is None
    assert history.number(artifact, "other") is None
