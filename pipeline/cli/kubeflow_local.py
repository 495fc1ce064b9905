"""`tfx-mnist kubeflow local`: the compiled pipeline in containers on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli import run
from pipeline.cli.command import LOCAL_PATH, Command, UsageError
from pipeline.cli.configuration import Given
from pipeline.config import RunConfig
from pipeline.result import RunResult
from trainer.host.text import quoted


@click.command(
    cls=Command,
    exit_codes=run.EXIT_CODES,
)
@click.option(
    "--image", metavar="IMAGE", required=True, help="The image of every task: `make image`."
)
@click.option(
    "--kfp-python",
    metavar="PYTHON",
    type=LOCAL_PATH,
    default=sys.executable,
    help="A Python with kfp 2.16 and docker, where this one has an older kfp (Python 3.10).",
)
@click.option(
    "--user",
    metavar="UID:GID",
    default=f"{os.getuid()}:{os.getgid()}",
    help="Who runs in the containers and can write to the directories (default: you).",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="VARIABLE=VALUE",
    help="Variable for the containers; may be given again.",
)
@run.options
def local(
    given: Given, image: str, kfp_python: Path, user: str, variables: tuple[str, ...], **values: Any
) -> int:
    """Runs the compiled pipeline's containers on this machine.

    Compiles the pipeline and runs it without a cluster, by kfp's local runner on Docker or Podman:
    each task in a container of its own without a network. There is no cache, so each run executes
    everything.
    """
    _, overrides = given.chosen()
    environment = _environment(variables)

    def run_in_containers(configured: RunConfig, **told: Any) -> RunResult:
        from pipeline.runners.kubeflow import containers

        options = containers.LocalOptions(
            image=image, kfp_python=str(kfp_python), user=user, environment=environment
        )
        return containers.run(configured, overrides, options, **told)

    return run.execute(given, run_in_containers, **values)


def _environment(texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError(f"--env is {quoted(text)}, expected VARIABLE=VALUE")
    return dict(text.split("=", 1) for text in texts)
