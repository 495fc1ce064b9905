"""What the backend hands to a container, and what it takes back, as plain values.

Synopsis::

    given = ExecutorInput.parse(argument)              # what stood for {{$}} in the arguments
    given.parameters["exec_properties"]
    given.inputs["examples"].uri                       # "minio://mlpipeline/v2/.../examples"
    local_path(given.inputs["examples"].uri)           # "/minio/mlpipeline/v2/.../examples"
    given.write_answer(parameters={"refusal": ""}, metadata={"model": {"version": 3}})

Each function answers one behaviour of the open-source backend, named where it is: files of
kubeflow/pipelines, read at 2.14 to 2.17, and of kfp 2.16. Neither TFX nor kfp is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.host.termination import raise_if_arrived

# The launcher mounts or makes these. (backend/src/v2/component/launcher_v2.go, LocalPathForURI)
_STAGED = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}

# Metadata of an artifact that was declared and not written, see `ABSENT`.
ABSENT = "absent"

TERMINATION_LOG = Path("/dev/termination-log")
# The kubelet cuts the message there. (Kubernetes API, Container.terminationMessagePath)
TERMINATION_BYTES = 4096

_PROPERTIES_FILE = ".properties.json"
_LONG = 1024  # characters of a text that goes into the file


class WireError(ValueError):
    """What the backend handed over cannot be used; one line."""


@dataclass(frozen=True)
class WireArtifact:
    """An artifact as the backend describes it.

    Its type is left out: of an input the backend knows no more than a title, and sends an empty
    `instanceSchema` with it (backend/src/v2/metadata/client.go, SchemaToArtifactType; driver). The
    compiled arguments say of which type each artifact is.

    Attributes:
      uri: where it lies; the launcher has staged it at `local_path(uri)`.
      metadata: its properties, see `artifacts`; numbers are floats.
      name: the backend's id for it; kfp's local runner gives its key.
    """

    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def absent(self) -> bool:
        """Whether its producer declared it and did not write it.

        The backend records every declared output, also one without a file
        (launcher_v2.go, uploadOutputArtifacts: "We allow components to not produce output files"),
        and kfp's local runner refuses a consumer whose producer left one out
        (kfp/local/io.py, get_task_output). So the artifact itself says that there is none.
        """
        return bool(self.metadata.get(ABSENT))


@dataclass(frozen=True)
class ExecutorInput:
    """One task's inputs, and where its outputs go.

    Attributes:
      parameters: input parameters by name.
      inputs: input artifacts by key.
      outputs: output artifacts by key, not written yet.
      output_parameters: names of those that the task declares.
      output_file: where the answer goes.
    """

    parameters: Mapping[str, Any]
    inputs: Mapping[str, WireArtifact]
    outputs: Mapping[str, WireArtifact]
    output_parameters: frozenset[str]
    output_file: Path

    @classmethod
    def parse(cls, text: str) -> ExecutorInput:
        """Reads the JSON form of the message ExecutorInput (pipeline_spec.proto).

        Raises:
          WireError: it is no such thing.
        """
        try:
            message = json.loads(text)
            inputs, outputs = message.get("inputs", {}), message["outputs"]
            return cls(
                parameters=inputs.get("parameterValues", {}),
                inputs=_first_artifacts(inputs),
                outputs=_first_artifacts(outputs),
                output_parameters=frozenset(outputs.get("parameters", {})),
                output_file=Path(outputs["outputFile"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WireError(
                f"the executor input is {text[:200]!r} ({error!r}), expected the JSON that the "
                "backend puts in place of {{$}}; run this in a pipeline that `tfx-mnist kubeflow "
                "compile` made"
            ) from error

    def write_answer(
        self,
        *,
        parameters: Mapping[str, str] | None = None,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Writes the message ExecutorOutput, which `Answer` reads.

        The URI is given back as it came, since the launcher uploads to the one that stands here
        (launcher_v2.go, mergeRuntimeArtifacts).

        Raises:
          Terminated, KeyboardInterrupt: SIGTERM or SIGINT has arrived, so that this may be no
            answer: other people's code may have swallowed the signal.
        """
        raise_if_arrived()
        artifacts = {
            key: {
                "artifacts": [
                    {
                        "name": self.outputs[key].name,
                        "uri": self.outputs[key].uri,
                        "metadata": dict(values),
                    }
                ]
            }
            for key, values in (metadata or {}).items()
        }
        message = {"parameterValues": dict(parameters or {}), "artifacts": artifacts}
        self.output_file.parent.mkdir(parents=True, exist_ok=True)
        self.output_file.write_text(json.dumps(message, allow_nan=False))


@dataclass(frozen=True)
class Answer:
    """What a task wrote.

    Attributes:
      parameters: values of its output parameters.
      artifacts: its output artifacts by key, with their properties.
    """

    parameters: Mapping[str, Any]
    artifacts: Mapping[str, WireArtifact]

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Reads the JSON form of the message ExecutorOutput (pipeline_spec.proto)."""
        message = json.loads(text)
        return cls(message["parameterValues"], _first_artifacts(message))


def _first_artifacts(side: Mapping[str, Any]) -> dict[str, WireArtifact]:
    """One artifact per key: the backend supports no more than the first of each list."""
    return {
        key: WireArtifact(
            uri=lists["artifacts"][0]["uri"],
            metadata=lists["artifacts"][0].get("metadata", {}),
            name=lists["artifacts"][0].get("name", ""),
        )
        for key, lists in side.get("artifacts", {}).items()
        if lists.get("artifacts")
    }


def local_path(uri: str) -> str:
    """Where the launcher has staged an input, and uploads an output from.

    TensorFlow cannot read minio:// itself, and need not hold credentials for the others
    (launcher_v2.go, LocalPathForURI). kfp's local runner gives plain paths.

    Raises:
      WireError: another kind of URI, which the launcher does not stage either.
    """
    for scheme, folder in _STAGED.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    if "://" in uri:
        raise WireError(
            f"the artifact URI is {uri!r}, expected one of {', '.join(_STAGED)}: submit with "
            "another --pipeline-root"
        )
    return uri


def without_long_texts(directory: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Moves long texts from an artifact's metadata into a file in its directory.

    The driver puts the metadata of all inputs into one command-line argument, and into the
    workflow's status (backend/src/v2/driver, initPodSpecPatch). Linux allows 128 KiB for the one,
    Argo 1 MiB for all tasks in the other. The checks of a set with many classes are longer.
    """
    long = {
        name: value
        for name, value in metadata.items()
        if isinstance(value, str) and len(value) > _LONG
    }
    if long:
        (directory / _PROPERTIES_FILE).write_text(json.dumps(long))
    return {name: value for name, value in metadata.items() if name not in long}


def with_long_texts(directory: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata with what `without_long_texts` moved."""
    file = directory / _PROPERTIES_FILE
    return {**metadata, **(json.loads(file.read_text()) if file.is_file() else {})}


def leave_message(line: str, path: Path) -> None:
    """Makes a line the message of the task that fails.

    Kubernetes takes it from that file, Argo from Kubernetes (argo-workflows,
    workflow/controller/operator.go, inferFailedReason). The launcher itself would only say that a
    command ended with an exit status. Outside of Kubernetes there is no such file.
    """
    if path.exists():
        path.write_bytes(line.encode()[:TERMINATION_BYTES])
