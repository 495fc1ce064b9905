"""`tfx-mnist kubeflow local`: the compiled pipeline in containers on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from pipeline.cli import configuration, run
from pipeline.cli.command import Command, Parser, UsageError, local_path
from pipeline.config import RunConfig
from pipeline.result import RunResult
from trainer.host.text import quoted


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "--image", metavar="IMAGE", required=True, help="the image of every task: `make image`"
    )
    parser.add_argument(
        "--kfp-python",
        metavar="PYTHON",
        type=local_path,
        default=sys.executable,
        help="a Python with kfp 2.16 and docker, where this one has an older kfp (Python 3.10)",
    )
    parser.add_argument(
        "--user",
        metavar="UID:GID",
        default=f"{os.getuid()}:{os.getgid()}",
        help="who runs in the containers, and must be able to write to the directories (default: "
        "you)",
    )
    parser.add_argument(
        "--env",
        dest="environment",
        action="append",
        default=[],
        metavar="VARIABLE=VALUE",
        help="in the containers' environment; may be given again",
    )
    run.add_options(parser)


def _execute(options: argparse.Namespace) -> int:
    preset, overrides = configuration.chosen(options)
    environment = _environment(options.environment)

    def run_in_containers(_: RunConfig, **given: Any) -> RunResult:
        from pipeline.runners.kubeflow import containers

        local_options = containers.LocalOptions(
            image=options.image,
            kfp_python=options.kfp_python,
            user=options.user,
            environment=environment,
        )
        return containers.run(preset, overrides, local_options, **given)

    return run.execute(options, run_in_containers)


def _environment(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError(f"--env is {quoted(text)}, expected VARIABLE=VALUE")
    return dict(text.split("=", 1) for text in texts)


COMMAND = Command(
    name="local",
    help="run the compiled pipeline's containers on this machine",
    description="Compiles the pipeline and runs it without a cluster: each task in a container of "
    "its own,\nwithout a network, by kfp's local runner on Docker or Podman. There is no cache: "
    "each run\nexecutes everything.",
    notes=f"keys of --set and of the YAML file:\n{configuration.keys()}",
    add_options=_add_options,
    execute=_execute,
    exit_codes=run.EXIT_CODES,
)
