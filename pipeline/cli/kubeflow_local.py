"""`tfx-mnist kubeflow local`: the compiled pipeline in containers on this machine."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.cli import run
from pipeline.cli.command import command, option, path_option
from pipeline.cli.configuration import Given
from pipeline.config import RunConfig
from pipeline.result import RunResult


@command(**run.EXIT_CODES)
@option("--image", "IMAGE", "The image of every task: `make image`.", required=True)
@path_option(
    "--kfp-python",
    "PYTHON",
    "A Python with kfp 2.16 or 2.17 and docker, if this one has an older kfp (Python 3.10).",
)
@option(
    "--user",
    "UID:GID",
    "User of the containers, who must be able to write to the directories (default: you).",
)
@functools.partial(run.options, without=["--artifacts"])  # kfp's runner says where they lie
def local(
    given: Given,
    image: str,
    kfp_python: Path | None,
    user: str | None,
    **values: Any,
) -> int:
    """Runs the compiled pipeline's containers on this machine.

    Compiles the pipeline and runs it without a cluster, by kfp's local runner on Docker or Podman:
    each task in a container of its own without a network. There is no cache, so each run executes
    everything.
    """
    _, overrides = given.chosen()

    def run_in_containers(configured: RunConfig, **told: Any) -> RunResult:
        from pipeline.runners.kubeflow import containers

        options = containers.LocalOptions(
            image=image,
            kfp_python=str(kfp_python or sys.executable),
            user=user or f"{os.getuid()}:{os.getgid()}",
        )
        return containers.run(configured, overrides, options, **told)

    return run.execute(given, run_in_containers, again="begins anew", **values)
