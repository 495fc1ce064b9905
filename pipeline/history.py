"""Read-only questions to ML Metadata.

Synopsis::

    outputs(store, execution_id)["examples"][0].uri
    was_cached(store, execution_id)     # True: nothing was executed
"""

from __future__ import annotations

from collections.abc import Mapping

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

_OUTPUT_EVENTS = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)


def outputs(
    store: metadata_store.MetadataStore, execution_id: int
) -> Mapping[str, list[metadata_store_pb2.Artifact]]:
    """The artifacts that an execution produced, or took over from the cache, by output key."""
    events = [
        event
        for event in store.get_events_by_execution_ids([execution_id])
        if event.type in _OUTPUT_EVENTS
    ]
    artifacts = {
        artifact.id: artifact
        for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
    }
    by_key: dict[str, list[metadata_store_pb2.Artifact]] = {}
    for event in events:
        key = next(step.key for step in event.path.steps if step.HasField("key"))
        by_key.setdefault(key, []).append(artifacts[event.artifact_id])
    return by_key


def was_cached(store: metadata_store.MetadataStore, execution_id: int) -> bool:
    """Whether the execution took over an earlier one's outputs."""
    (execution,) = store.get_executions_by_id([execution_id])
    return bool(execution.last_known_state == metadata_store_pb2.Execution.CACHED)


def text(artifact: metadata_store_pb2.Artifact, name: str) -> str | None:
    """A string custom property; None where the artifact lacks it."""
    if name not in artifact.custom_properties:
        return None
    return str(artifact.custom_properties[name].string_value)


def number(artifact: metadata_store_pb2.Artifact, name: str) -> int | None:
    """An integer custom property; None where the artifact lacks it."""
    if name not in artifact.custom_properties:
        return None
    return int(artifact.custom_properties[name].int_value)
