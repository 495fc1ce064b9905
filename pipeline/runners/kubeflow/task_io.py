"""Inputs that the backend passes to a container, and outputs that it takes back, as plain values.

    given = ExecutorInput.parse(argument)              # what stood for {{$}} in the arguments
    given.inputs["examples"].path                      # "/minio/mlpipeline/v2/.../examples"
    given.write_answer(parameters={"refusal": ""}, metadata={"model": {"version": 3}})

Files named here are those of kubeflow/pipelines 2.14 to 2.17, and of kfp 2.16. Neither TFX nor kfp
is imported here, so a task behind a refusal ends at once.
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

# Metadata of an artifact that was declared and not written, see `TaskArtifact.absent`.
ABSENT = "absent"

TERMINATION_LOG = Path("/dev/termination-log")
# The kubelet cuts the message there. (Kubernetes API, Container.terminationMessagePath)
_TERMINATION_BYTES = 4096

_PROPERTIES_FILE = ".properties.json"
_LONG = 1024  # characters of a text that goes into the file


class TaskInputError(ValueError):
    """The backend's input cannot be used; the message is one line."""


@dataclass(frozen=True)
class TaskArtifact:
    """An artifact as the backend describes it.

    It has no type, because the backend sends an empty `instanceSchema`
    (backend/src/v2/metadata/client.go, SchemaToArtifactType): compiled arguments hold the types.

    Attributes:
      metadata: its properties without long texts; numbers are floats.
      name: the backend's id of it; from kfp's local runner, its key.
    """

    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def absent(self) -> bool:
        """Whether its producer declared it but did not write it, and so marked it as absent.

        The backend records every declared output, even without a file (launcher_v2.go,
        uploadOutputArtifacts), and kfp's local runner refuses a consumer whose producer left one
        out (kfp/local/io.py, get_task_output).
        """
        return bool(self.metadata.get(ABSENT))

    @property
    def path(self) -> Path:
        """Where the launcher stages an input, or takes an output (launcher_v2.go, LocalPathForURI).

        TensorFlow cannot read minio://, and needs no credentials for others in this way.

        Raises:
          TaskInputError: the URI is of a kind that the launcher does not stage either.
        """
        for scheme, folder in _STAGED.items():
            if self.uri.startswith(scheme):
                return Path(folder + self.uri.removeprefix(scheme))
        if "://" in self.uri:
            raise TaskInputError(
                f"the artifact URI is {self.uri!r}, expected one of {', '.join(_STAGED)}: submit "
                "with another --pipeline-root"
            )
        return Path(self.uri)

    @property
    def properties(self) -> dict[str, str | int | float]:
        """All properties, long texts too; whole numbers are int, which the backend makes doubles.

        (backend/src/v2/metadata/converter.go, StructValueToMLMDValue)
        """
        file = self.path / _PROPERTIES_FILE
        long = json.loads(file.read_text()) if file.is_file() else {}
        return {
            name: value if isinstance(value, str) or value % 1 else int(value)
            for name, value in {**self.metadata, **long}.items()
            if isinstance(value, str | int | float)
        }


def leave_long_texts(directory: Path, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Moves long texts into a file in the artifact's directory; returns the other properties.

    The driver puts the metadata of all inputs into one argument, which Linux limits to 128 KiB, and
    the workflow's status, which Argo limits to 1 MiB (backend/src/v2/driver, initPodSpecPatch).
    """
    long = {
        name: value
        for name, value in properties.items()
        if isinstance(value, str) and len(value) > _LONG
    }
    if long:
        (directory / _PROPERTIES_FILE).write_text(json.dumps(long))
    return {name: value for name, value in properties.items() if name not in long}


@dataclass(frozen=True)
class ExecutorInput:
    """The inputs of a task, and the places of its outputs; `outputs` are not written yet."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, TaskArtifact]
    outputs: Mapping[str, TaskArtifact]
    output_parameters: frozenset[str]
    output_file: Path

    @classmethod
    def parse(cls, text: str) -> ExecutorInput:
        """Reads the message ExecutorInput (pipeline_spec.proto) in JSON; raises TaskInputError."""
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
            raise TaskInputError(
                f"the executor input is {text[:200]!r} ({error!r}), expected the JSON that the "
                "backend puts in place of {{$}}; run this in a pipeline that `tfx-mnist kubeflow "
                "compile` made"
            ) from error

    def write_answer(
        self,
        *,
        parameters: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Writes the message ExecutorOutput, without parameters that the task does not declare.

        Raises:
          Terminated, KeyboardInterrupt: SIGTERM or SIGINT has arrived, even if a library swallowed
            it; then there must be no answer.
        """
        raise_if_arrived()
        declared = {key: text for key, text in parameters.items() if key in self.output_parameters}
        artifacts = {
            # With the URI as it came: the launcher uploads to the one that stands here
            # (launcher_v2.go, mergeRuntimeArtifacts).
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
        message = {"parameterValues": declared, "artifacts": artifacts}
        self.output_file.parent.mkdir(parents=True, exist_ok=True)
        self.output_file.write_text(json.dumps(message, allow_nan=False))


@dataclass(frozen=True)
class Answer:
    """The values of a task's output parameters, and its output artifacts by key."""

    parameters: Mapping[str, Any]
    artifacts: Mapping[str, TaskArtifact]

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Reads the message ExecutorOutput (pipeline_spec.proto) in JSON."""
        message = json.loads(text)
        return cls(message["parameterValues"], _first_artifacts(message))


def _first_artifacts(side: Mapping[str, Any]) -> dict[str, TaskArtifact]:
    """Returns one artifact per key: the backend supports only the first of each list."""
    return {
        key: TaskArtifact(one["uri"], one.get("metadata", {}), one.get("name", ""))
        for key, lists in side.get("artifacts", {}).items()
        for one in lists.get("artifacts", ())[:1]
    }


def leave_message(line: str, path: Path) -> None:
    """Leaves the message of the failed task; does nothing outside of Kubernetes.

    Argo takes it from there (argo-workflows, workflow/controller/operator.go, inferFailedReason).
    The launcher would only say that a command ended with an exit status.
    """
    if path.exists():
        path.write_bytes(line.encode()[:_TERMINATION_BYTES])
