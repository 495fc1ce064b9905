"""The message that a container gets in place of {{$}}, as the backend and kfp's runner send it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def artifact(uri: Path | str, *, name: str = "", **metadata: Any) -> dict[str, Any]:
    """A RuntimeArtifact."""
    return {
        "name": name,
        "uri": str(uri),
        "type": {"instanceSchema": ""},
        "metadata": metadata,
    }


def executor_input(
    output_file: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Mapping[str, Any]] | None = None,
    outputs: Mapping[str, Mapping[str, Any]] | None = None,
    output_parameters: tuple[str, ...] = (),
) -> str:
    """An ExecutorInput, in JSON."""
    return json.dumps(
        {
            "inputs": {
                "parameterValues": dict(parameters or {}),
                "artifacts": {key: {"artifacts": [one]} for key, one in (inputs or {}).items()},
            },
            "outputs": {
                "parameters": {name: {"outputFile": f"/tmp/{name}"} for name in output_parameters},
                "artifacts": {key: {"artifacts": [one]} for key, one in (outputs or {}).items()},
                "outputFile": str(output_file),
            },
        }
    )
