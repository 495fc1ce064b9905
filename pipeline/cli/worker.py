"""`tfx-mnist worker`: trains as one of the machines behind the chief."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli import output
from pipeline.cli.command import (
    Command,
    CommandError,
    Parser,
    UsageError,
    local_path,
    whole_number,
)
from pipeline.config import RunConfig
from trainer import supervision
from trainer.cluster import Cluster, ClusterError
from trainer.job import job_file


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "--pipeline-root",
        metavar="DIR",
        type=local_path,
        default=RunConfig.pipeline_root,
        help="the chief's, on a file system that the machines share (default: %(default)s)",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=whole_number(0),
        default=3600,
        help="how long to wait for the chief's training to begin (default: %(default)s)",
    )


def _execute(options: argparse.Namespace) -> int:
    try:
        cluster = Cluster.from_environment()
    except ClusterError as error:
        raise UsageError(str(error)) from error
    if cluster is None:
        raise UsageError(
            "TF_CONFIG names no cluster of several machines: set it as docs/distributed.md says"
        )
    if cluster.is_chief:
        raise UsageError(
            "this machine is number 0 of TF_CONFIG, the chief, expected 1 or more: start "
            "`tfx-mnist run` here"
        )
    file = job_file(Path(options.pipeline_root).absolute())
    try:
        supervision.wait_for(file, seconds=options.wait)
        supervision.train(file)
    except supervision.TrainingFailed as error:
        raise CommandError(str(error)) from error
    if options.json:
        output.say_json({"worker": cluster.index, "workers": cluster.size, "error": None})
    else:
        output.say([f"trained: as number {cluster.index} of {cluster.size} machines"])
    return 0


COMMAND = Command(
    name="worker",
    help="train as one of several machines",
    description="Takes part in the next training of the pipeline root, as one of the machines that "
    "TF_CONFIG\nnames. The first of them runs `tfx-mnist run`. A lost machine costs the epoch that "
    "ran: all\nstart again, wait for it, and go on.",
    add_options=_add_options,
    after_a_signal="; the same command goes on after the last finished epoch",
    execute=_execute,
    exit_codes={
        0: "trained to the end",
        1: "failed: no training began, the chief ended before, or an error that would come again",
        2: "usage, or TF_CONFIG names no second machine",
    },
)
