"""`tfx-mnist kubeflow compile`: the pipeline as YAML for the open-source backend."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import configuration, logs
from pipeline.cli.command import (
    LOCAL_PATH,
    Command,
    CommandError,
    Reply,
    UsageError,
    option,
    verbose,
    whole,
)
from pipeline.cli.configuration import Given, pass_given
from pipeline.result import ExitCode
from pipeline.runners.kubeflow.names import require_kfp
from trainer.host.text import quoted

if TYPE_CHECKING:
    from pipeline.runners.kubeflow.deployment import Deployment, Resource

# Run's own flags but for its directories, which are given in another way.
_OF_RUN = (
    *("--preset", "--dataset", "--seed", "--replicas", "--set", "--config", "--hparams"),
    *("--beam-arg", "--deterministic", "--tune", "--no-cache", "--allow-missing-baseline"),
)
_PLACES = {"pipeline_root": "--pipeline-root", "serving_dir": "--serving-dir"}
_GIGABYTES = {"M": 1e-3, "G": 1.0, "Mi": 2**20 / 1e9, "Gi": 2**30 / 1e9}
# Where the backend's launcher can stage artifacts from.
_ROOTS = "one of gs://BUCKET, s3://BUCKET, minio://BUCKET, or a folder in it"
_ROOT = re.compile(r"(gs|s3|minio)://[^/?\s]+([/?]\S*)?")


def _list(flag: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return option(flag, metavar, f"{text}; may be given again.", multiple=True)


@click.command(
    "compile",
    cls=Command,
    exit_codes={
        ExitCode.DONE: "compiled",
        ExitCode.FAILED: "failed",
        ExitCode.USAGE: "usage or configuration refused",
    },
)
@option("--image", "IMAGE", "The image of every task.", required=True)
@option("--pipeline-root", "URI", f"Where the backend keeps artifacts: {_ROOTS}.", required=True)
@option(
    "--serving-dir",
    "DIR",
    "The directory that the server watches: pvc://CLAIM/DIRECTORY, or a path in the containers.",
    required=True,
)
@option("--data-dir", "DIR", "tensorflow-datasets' directory, in the same way.")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=LOCAL_PATH,
    default="pipeline.yaml",
    show_default=True,
    help="The YAML file to write.",
)
@_list("--gpus", "N", "NVIDIA GPUs of the Trainer, with --tune of the Tuner; or COMPONENT=N")
@_list("--cpus", "C", "CPUs, in the same way")
@_list("--memory", "M", "Memory such as 8G or 512Mi, in the same way")
@option(
    "--retries",
    "N",
    "Further attempts at a task that failed; a gate's refusal is final.",
    type=whole(0),
    default=2,
)
@_list("--secret-env", "SECRET:KEY=VARIABLE", "A secret's key in every task's environment")
@configuration.options(*_OF_RUN)
@verbose
@pass_given
def compile_(given: Given, /, *, file: Path, verbose: bool, **values: Any) -> Reply:
    """Writes the pipeline as YAML for Kubeflow Pipelines.

    The file is for the open-source backend and serves any number of runs: data set, preset, seed,
    epochs and floor are parameters of a run, whose defaults the flags set. All other flags are
    compiled in.
    """
    preset, overrides = given.chosen()
    _require_ours(overrides)
    require_kfp()
    with logs.quiet(show=verbose):
        from pipeline.runners.kubeflow.compiling import compile_pipeline

        compiled = compile_pipeline(preset, overrides, _deployment(**values))
    try:
        file.write_text(compiled.text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}; give another -o") from error
    line = f"compiled: {len(compiled.tasks)} tasks in {file}"
    return Reply({"pipeline": str(file), "tasks": compiled.tasks}, [line])


def _require_ours(overrides: Mapping[str, Any]) -> None:
    """Refuses directories in a configuration file, because they are those of another machine."""
    for key, flag in {**_PLACES, "data_dir": "--data-dir"}.items():
        if key in overrides:
            raise UsageError(
                f"{key} is set in the configuration, expected by {flag}: in the cluster it is "
                "another directory"
            )


def _deployment(
    *,
    image: str,
    pipeline_root: str,
    serving_dir: str,
    data_dir: str | None,
    secret_env: Sequence[str],
    retries: int,
    **resources: Sequence[str],
) -> Deployment:
    from pipeline.runners.kubeflow.deployment import Deployment, Mount, SecretVariable

    if not _ROOT.fullmatch(pipeline_root):
        raise UsageError(f"--pipeline-root is {quoted(pipeline_root)}, expected {_ROOTS}")
    return Deployment(
        image=image,
        pipeline_root=pipeline_root,
        serving=Mount.parse(serving_dir),
        data=Mount.parse(data_dir) if data_dir else None,
        secrets=tuple(map(SecretVariable.parse, secret_env)),
        resources=tuple(_resources(**resources)),
        retries=retries,
    )


def _resources(
    *, gpus: Sequence[str], cpus: Sequence[str], memory: Sequence[str]
) -> Iterator[Resource]:
    from pipeline.runners.kubeflow.deployment import Resource

    for flag, texts, kind, read in (
        ("--gpus", gpus, "gpus", _count),
        ("--cpus", cpus, "cpus", _amount),
        ("--memory", memory, "memory_gb", _gigabytes),
    ):
        for text in texts:
            component, _, value = text.rpartition("=")
            try:
                yield Resource(kind, read(value), component)
            except ValueError as error:
                raise UsageError(f"{flag} is {quoted(text)}, expected {error}") from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a number above 0")
    return value


def _gigabytes(text: str) -> float:
    match = re.fullmatch(r"(?P<number>[0-9.]+)(?P<unit>[MG]i?)", text)
    if match is None:
        raise ValueError("a number with M, G, Mi or Gi")
    return _amount(match["number"]) * _GIGABYTES[match["unit"]]
