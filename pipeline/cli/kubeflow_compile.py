"""`tfx-mnist kubeflow compile`: the pipeline as YAML for the open-source backend."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import config
from pipeline.cli import configuration, logs, output
from pipeline.cli.command import (
    USAGE_ERROR,
    Command,
    CommandError,
    Parser,
    UsageError,
    local_path,
)
from pipeline.cli.command import whole_number as whole
from pipeline.config import RunConfig
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


def _add_options(parser: Parser) -> None:
    def add(flag: str, metavar: str, text: str, **settings: Any) -> None:
        parser.add_argument(flag, metavar=metavar, help=text, **settings)

    def add_list(flag: str, metavar: str, text: str) -> None:
        add(flag, metavar, f"{text}; may be given again", action="append", default=[])

    add("--image", "IMAGE", "the image of every task", required=True)
    add(
        "--pipeline-root",
        "URI",
        f"where the backend keeps artifacts: {_ROOTS}",
        required=True,
    )
    add(
        "--serving-dir",
        "DIR",
        "the directory that the server watches: pvc://CLAIM/DIRECTORY, or a path in the containers",
        required=True,
    )
    add("--data-dir", "DIR", "tensorflow-datasets' directory, in the same way")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=local_path,
        default="pipeline.yaml",
        help="where the YAML goes (default: %(default)s)",
    )
    add_list("--gpus", "N", "NVIDIA GPUs of the Trainer, with --tune of the Tuner; or COMPONENT=N")
    add_list("--cpus", "C", "CPUs, in the same way")
    add_list("--memory", "M", "memory such as 8G or 512Mi, in the same way")
    add(
        "--retries",
        "N",
        "further attempts at a task that failed; a gate's no is final (default: %(default)s)",
        type=whole(0),
        default=2,
    )
    add_list("--secret-env", "SECRET:KEY=VARIABLE", "a secret's key in every task's environment")
    configuration.add_options(parser, only=_OF_RUN)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the libraries' logs on stderr"
    )


def _execute(options: argparse.Namespace) -> int:
    preset, overrides = configuration.chosen(options)
    _require_ours(overrides)
    require_kfp()
    with logs.quiet(show=options.verbose):
        compiled = _compiled(preset, overrides, options)
    try:
        Path(options.output).write_text(compiled.text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"cannot write {options.output}: {error.strerror}; give another -o"
        ) from error
    if options.json:
        output.say_json({"pipeline": options.output, "tasks": compiled.tasks, "error": None})
    else:
        output.say([f"compiled: {len(compiled.tasks)} tasks in {options.output}"])
    return 0


def _compiled(preset: str, overrides: Mapping[str, Any], options: argparse.Namespace) -> Compiled:
    from pipeline.runners.kubeflow.compiling import compile_pipeline

    configured = config.build(preset, overrides)
    return compile_pipeline(preset, overrides, _compile_options(options, configured))


def _require_ours(overrides: Mapping[str, Any]) -> None:
    """The directories of a configuration file are those of another machine."""
    for key, flag in {**_PLACES, "data_dir": "--data-dir"}.items():
        if key in overrides:
            raise UsageError(
                f"{key} is set in the configuration, expected by {flag}: in the cluster it is "
                "another directory"
            )


def _compile_options(options: argparse.Namespace, configured: RunConfig) -> CompileOptions:
    from pipeline.runners.kubeflow.cluster import Mount, SecretVariable
    from pipeline.runners.kubeflow.compiling import CompileOptions
    from pipeline.runners.kubeflow.spec import Deployment

    if not _ROOT.fullmatch(options.pipeline_root):
        raise UsageError(f"--pipeline-root is {quoted(options.pipeline_root)}, expected {_ROOTS}")
    return CompileOptions(
        deployment=Deployment(
            image=options.image,
            pipeline_root=options.pipeline_root,
            resources=_resources(options, _learners(configured)),
            retries=options.retries,
            cache=configured.cache,
        ),
        serving=Mount.parse(options.serving_dir),
        data=Mount.parse(options.data_dir) if options.data_dir else None,
        secrets=tuple(map(SecretVariable.parse, options.secret_env)),
    )


def _learners(configured: RunConfig) -> Sequence[str]:
    """Components that want a GPU where there is one."""
    return (TUNER, TRAINER) if configured.tuning.enabled else (TRAINER,)


def _resources(options: argparse.Namespace, learners: Sequence[str]) -> dict[str, Resources]:
    """By component, what the three flags ask for; where they name none, for the `learners`."""
    from pipeline.runners.kubeflow.spec import Resources

    asked: dict[str, dict[str, Any]] = {}
    for flag, texts, field, read in (
        ("--gpus", options.gpus, "gpus", _count),
        ("--cpus", options.cpus, "cpus", _amount),
        ("--memory", options.memory, "memory_gb", _gigabytes),
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
    try:
        return whole(0)(text)
    except argparse.ArgumentTypeError:
        raise ValueError("a whole number") from None


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


COMMAND = Command(
    name="compile",
    help="write the pipeline as YAML for Kubeflow Pipelines",
    description="Writes the pipeline as YAML for the open-source backend of Kubeflow Pipelines, "
    "for any\nnumber of runs: data set, preset, seed, epochs and floor are parameters of a run, "
    "and the\nflags set their defaults. All else that the flags say is compiled in.",
    notes=f"keys of --set and of the YAML file:\n{configuration.keys()}",
    add_options=_add_options,
    execute=_execute,
    exit_codes={0: "compiled", 1: "failed", USAGE_ERROR: "usage or configuration refused"},
)
