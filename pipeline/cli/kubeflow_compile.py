"""`tfx-mnist kubeflow compile`: the pipeline as YAML for the open-source backend."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli import configuration, logs
from pipeline.cli.command import CommandError, Reply, UsageError, command, option, verbose
from pipeline.cli.configuration import Given, pass_given
from pipeline.cli.option_types import Read, matching, whole
from pipeline.cli.written_files import written_option
from pipeline.runners.kubeflow.deployment import Deployment, Mount, Resource, SecretVariable
from pipeline.runners.kubeflow.names import require_kfp
from trainer.host.files import write_durably

# Flags of `run` for files and directories of this machine.
_OF_THIS_MACHINE = (
    *("--data-dir", "--pipeline-root", "--serving-dir", "--artifacts", "--signing-key"),
)
_GIGABYTES = {"M": 1e-3, "G": 1.0, "Mi": 2**20 / 1e9, "Gi": 2**30 / 1e9}
# Where the backend's launcher can stage artifacts from.
_ROOTS = "one of gs://BUCKET, s3://BUCKET, minio://BUCKET, or a folder in it"


def _amount(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ValueError("a number above 0")


def _gigabytes(text: str) -> float:
    match = re.fullmatch(r"(?P<number>[0-9.]+)(?P<unit>[MG]i?)", text)
    if match is None:
        raise ValueError("a number with M, G, Mi or Gi")
    return _amount(match["number"]) * _GIGABYTES[match["unit"]]


def _list(flag: str, metavar: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    return option(flag, metavar, f"{text}; may be given again.", multiple=True, **settings)


def _resource(kind: str, amount: Callable[[str], float]) -> Read:
    """The type of COMPONENT=AMOUNT, or of an amount for the components that train."""

    def read(text: str) -> Resource:
        component, _, value = text.rpartition("=")
        return Resource(kind, amount(value), component)

    return Read(read)


@command("compile", done="compiled", failed="failed", usage="usage or configuration refused")
@option("--image", "IMAGE", "The image of every task.", required=True)
@option(
    "--pipeline-root",
    "URI",
    f"Where the backend keeps artifacts: {_ROOTS}.",
    type=matching(r"(gs|s3|minio)://[^/?\s]+([/?]\S*)?", _ROOTS),
    required=True,
)
@option(
    "--serving-dir",
    "DIR",
    "The directory that the server watches: pvc://CLAIM/DIRECTORY, or a path in the containers.",
    required=True,
)
@option("--data-dir", "DIR", "Directory of tensorflow-datasets, in the same form.")
@written_option(
    "--output", "The YAML file to write.", "the pipeline", "-o", "file", default="pipeline.yaml"
)
@_list(
    "--gpus",
    "N",
    "NVIDIA GPUs of the Trainer and, with --tune, of the Tuner; or COMPONENT=N",
    type=_resource("gpus", whole(0).read),
)
@_list("--cpus", "C", "CPUs of the same tasks; or COMPONENT=C", type=_resource("cpus", _amount))
@_list(
    "--memory",
    "M",
    "Memory of the same tasks, such as 8G or 512Mi; or COMPONENT=M",
    type=_resource("memory_gb", _gigabytes),
)
@option(
    "--retries",
    "N",
    "Further attempts at a task that failed; a gate's refusal is final.",
    type=whole(0, 1_000),
    default=2,
)
@_list("--secret-env", "SECRET:KEY=VARIABLE", "A secret's key, as a variable of every task")
@configuration.options(without=_OF_THIS_MACHINE)
@verbose
@pass_given
def compile_(
    given: Given,
    /,
    *,
    file: Path,
    verbose: bool,
    serving_dir: str,
    data_dir: str | None,
    gpus: Sequence[Resource],
    cpus: Sequence[Resource],
    memory: Sequence[Resource],
    secret_env: Sequence[str],
    **values: Any,
) -> Reply:
    """Writes the pipeline as YAML for Kubeflow Pipelines.

    The file is for the open-source backend and serves any number of runs: data set, preset, seed,
    epochs and floor are parameters of a run, whose defaults the flags set. All other flags are
    compiled in.
    """
    preset, overrides = given.chosen()
    _require_ours(overrides)
    deployment = Deployment(
        **values,
        serving=Mount.parse(serving_dir),
        data=Mount.parse(data_dir) if data_dir else None,
        secrets=tuple(map(SecretVariable.parse, secret_env)),
        resources=(*gpus, *cpus, *memory),
    )
    require_kfp()
    with logs.quiet(show=verbose):
        from pipeline.runners.kubeflow.compiling import compile_pipeline

        compiled = compile_pipeline(preset, overrides, deployment)
    try:
        write_durably(file, compiled.text)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}; give another -o") from error
    line = f"compiled: {len(compiled.tasks)} tasks in {file}"
    return Reply({"pipeline": str(file), "tasks": compiled.tasks}, [line])


def _require_ours(overrides: Mapping[str, Any]) -> None:
    """Refuses directories in a configuration file, because they are those of another machine."""
    for key in ("pipeline_root", "serving_dir", "data_dir"):
        if key in overrides:
            raise UsageError(
                f"{key} is set in the configuration, expected by --{key.replace('_', '-')}: in the "
                "cluster it is another directory"
            )
