"""TFX's artifacts on Kubeflow: from the backend's description to a typed artifact, and back.

Synopsis::

    examples = to_tfx(given.inputs["examples"], "tfx.types.standard_artifacts.Examples")
    metadata = to_metadata(examples)

Where a comment names a file, it is of kubeflow/pipelines, read at 2.14 to 2.17.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.types.artifact import Artifact
from tfx.utils import import_utils

from pipeline.runners.kubeflow.wire import (
    WireArtifact,
    local_path,
    with_long_texts,
    without_long_texts,
)


def to_tfx(given: WireArtifact, type_path: str) -> Artifact:
    """The artifact as TFX's executors expect it: typed, with its properties, at a local path.

    Args:
      given: an input, or an output that is not written yet.
      type_path: import path of the artifact's class.
    """
    artifact: Artifact = import_utils.import_class_by_path(type_path)()
    artifact.uri = local_path(given.uri)
    # The backend names artifacts by their ids (backend/src/v2/metadata/converter.go,
    # toRuntimeArtifact); the Evaluator notes those of the models.
    if given.name.isdecimal():
        artifact.id = int(given.name)
    message = artifact.mlmd_artifact
    declared = artifact.artifact_type.properties
    for name, value in _properties(given).items():
        properties = message.properties if name in declared else message.custom_properties
        properties[name].CopyFrom(value)
    artifact.set_mlmd_artifact(message)
    return artifact


def to_message(given: WireArtifact) -> metadata_store_pb2.Artifact:
    """The artifact as ML Metadata would show it, of whatever type; all properties are custom."""
    message = metadata_store_pb2.Artifact(uri=given.uri)
    for name, value in _properties(given).items():
        message.custom_properties[name].CopyFrom(value)
    return message


def to_metadata(artifact: Artifact) -> dict[str, Any]:
    """The artifact's properties as the backend takes them, long ones left in a file beside it."""
    message = artifact.mlmd_artifact
    metadata = {
        name: getattr(value, value.WhichOneof("value"))
        for properties in (message.properties, message.custom_properties)
        for name, value in properties.items()
        # The backend fails on a null (backend/src/v2/metadata/converter.go,
        # StructValueToMLMDValue).
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }
    return without_long_texts(Path(artifact.uri), metadata)


def _properties(given: WireArtifact) -> dict[str, metadata_store_pb2.Value]:
    """What TFX and we write; the backend adds nothing of other kinds that anybody reads."""
    metadata = with_long_texts(Path(local_path(given.uri)), given.metadata)
    return {
        name: _value(value)
        for name, value in metadata.items()
        if isinstance(value, str | int | float)
    }


def _value(value: str | float) -> metadata_store_pb2.Value:
    """JSON knows one kind of number, and the backend makes every number a double.

    (backend/src/v2/metadata/converter.go, StructValueToMLMDValue)
    """
    if isinstance(value, str):
        return metadata_store_pb2.Value(string_value=value)
    if value != int(value):
        return metadata_store_pb2.Value(double_value=value)
    return metadata_store_pb2.Value(int_value=int(value))
