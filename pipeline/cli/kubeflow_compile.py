"""`tfx-mnist kubeflow compile`: the pipeline as YAML for the open-source backend."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
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
    verbose,
    whole,
)
from pipeline.cli.configuration import Given, pass_given
from pipeline.config import RunConfig
from pipeline.config_model import build
from pipeline.result import ExitCode
from pipeline.runners.kubeflow.installed import require_kfp
from pipeline.runners.kubeflow.names import TRAINER, TUNER
from trainer.host.text import quoted

if TYPE_CHECKING:
    from pipeline.runners.kubeflow.compiling import Compiled, CompileOptions
    from pipeline.runners.kubeflow.spec import Resources

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


def _option(flag: str, metavar: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(flag, metavar=metavar, help=text, **settings)


def _list(flag: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return _option(flag, metavar, f"{text}; may be given again.", multiple=True)


@dataclasses.dataclass(frozen=True)
class _Target:
    """What the options say about the cluster; see the help of `compile`."""

    image: str
    pipeline_root: str
    serving_dir: str
    data_dir: str | None
    gpus: tuple[str, ...]
    cpus: tuple[str, ...]
    memory: tuple[str, ...]
    retries: int
    secret_env: tuple[str, ...]


@click.command(
    "compile",
    cls=Command,
    exit_codes={
        ExitCode.DONE: "compiled",
        ExitCode.FAILED: "failed",
        ExitCode.USAGE: "usage or configuration refused",
    },
)
@_option("--image", "IMAGE", "The image of every task.", required=True)
@_option("--pipeline-root", "URI", f"Where the backend keeps artifacts: {_ROOTS}.", required=True)
@_option(
    "--serving-dir",
    "DIR",
    "The directory that the server watches: pvc://CLAIM/DIRECTORY, or a path in the containers.",
    required=True,
)
@_option("--data-dir", "DIR", "tensorflow-datasets' directory, in the same way.")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=LOCAL_PATH,
    default="pipeline.yaml",
    show_default=True,
    help="Where the YAML goes.",
)
@_list("--gpus", "N", "NVIDIA GPUs of the Trainer, with --tune of the Tuner; or COMPONENT=N")
@_list("--cpus", "C", "CPUs, in the same way")
@_list("--memory", "M", "Memory such as 8G or 512Mi, in the same way")
@_option(
    "--retries",
    "N",
    "Further attempts at a task that failed; a gate's refusal is final.",
    type=whole(0),
    default=2,
    show_default=True,
)
@_list("--secret-env", "SECRET:KEY=VARIABLE", "A secret's key in every task's environment")
@configuration.options(*_OF_RUN)
@verbose
@pass_given
def compile_(given: Given, /, *, file: Path, verbose: bool, **values: Any) -> Reply:
    """Writes the pipeline as YAML for Kubeflow Pipelines.

    The file is for the open-source backend, and for any number of runs: data set, preset, seed,
    epochs and floor are parameters of a run, and the flags set their defaults. All else that the
    flags say is compiled in.
    """
    preset, overrides = given.chosen()
    _require_ours(overrides)
    require_kfp()
    with logs.quiet(show=verbose):
        compiled = _compiled(preset, overrides, _Target(**values))
    try:
        file.write_text(compiled.text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}; give another -o") from error
    line = f"compiled: {len(compiled.tasks)} tasks in {file}"
    return Reply({"pipeline": str(file), "tasks": compiled.tasks}, [line])


def _compiled(preset: str, overrides: Mapping[str, Any], target: _Target) -> Compiled:
    from pipeline.runners.kubeflow.compiling import compile_pipeline

    configured = build(preset, overrides)
    return compile_pipeline(preset, overrides, _compile_options(target, configured))


def _require_ours(overrides: Mapping[str, Any]) -> None:
    """The directories of a configuration file are those of another machine."""
    for key, flag in {**_PLACES, "data_dir": "--data-dir"}.items():
        if key in overrides:
            raise UsageError(
                f"{key} is set in the configuration, expected by {flag}: in the cluster it is "
                "another directory"
            )


def _compile_options(target: _Target, configured: RunConfig) -> CompileOptions:
    from pipeline.runners.kubeflow.cluster import Mount, SecretVariable
    from pipeline.runners.kubeflow.compiling import CompileOptions
    from pipeline.runners.kubeflow.spec import Deployment

    if not _ROOT.fullmatch(target.pipeline_root):
        raise UsageError(f"--pipeline-root is {quoted(target.pipeline_root)}, expected {_ROOTS}")
    return CompileOptions(
        deployment=Deployment(
            image=target.image,
            pipeline_root=target.pipeline_root,
            resources=_resources(target, _learners(configured)),
            retries=target.retries,
            cache=configured.cache,
        ),
        serving=Mount.parse(target.serving_dir),
        data=Mount.parse(target.data_dir) if target.data_dir else None,
        secrets=tuple(map(SecretVariable.parse, target.secret_env)),
    )


def _learners(configured: RunConfig) -> Sequence[str]:
    """Components that want a GPU where there is one."""
    return (TUNER, TRAINER) if configured.tuning.enabled else (TRAINER,)


def _resources(target: _Target, learners: Sequence[str]) -> dict[str, Resources]:
    """By component, what the three flags ask for; where they name none, for the `learners`."""
    from pipeline.runners.kubeflow.spec import Resources

    asked: dict[str, dict[str, Any]] = {}
    for flag, texts, field, read in (
        ("--gpus", target.gpus, "gpus", _count),
        ("--cpus", target.cpus, "cpus", _amount),
        ("--memory", target.memory, "memory_gb", _gigabytes),
    ):
        for text in texts:
            component, _, value = text.rpartition("=")
            try:
                amount = read(value)
            except ValueError as error:
                raise UsageError(f"{flag} is {quoted(text)}, expected {error}") from None
            for name in (component,) if component else learners:
                asked.setdefault(name, {})[field] = amount
    return {name: Resources(**fields) for name, fields in asked.items()}


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
