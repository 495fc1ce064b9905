"""`tfx-mnist worker`: trains as one of the machines behind the chief, of a training or a search."""

from __future__ import annotations

import argparse
import os
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
from trainer.host.text import quoted
from trainer.job import job_file
from trainer.tuning import processes


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
    parser.add_argument(
        "--search",
        metavar="JOB",
        type=local_path,
        help="take part in a search, by the job file that its chief names, in place of a training "
        "of the pipeline root; the environment says where the chief is, see docs/tuning.md",
    )


def _execute(options: argparse.Namespace) -> int:
    if options.search is None:
        return _train(options)
    return _search(Path(options.search), as_json=options.json)


def _train(options: argparse.Namespace) -> int:
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


def _search(job: Path, *, as_json: bool) -> int:
    name = _require_worker_of_a_search()
    if not job.is_file():
        raise UsageError(f"there is no file {job}, expected the job file that the chief names")
    try:
        processes.work(job)
    except processes.WorkerDied as error:
        raise CommandError(str(error)) from error
    if as_json:
        output.say_json({"worker": name, "search": str(job), "error": None})
    else:
        output.say([f"searched: as {name}, until no trial was left"])
    return 0


def _require_worker_of_a_search() -> str:
    """Returns this worker's name."""
    names = (processes.TUNER_ID, processes.ORACLE_IP, processes.ORACLE_PORT)
    unset = [name for name in names if not os.environ.get(name)]
    if unset:
        raise UsageError(f"{', '.join(unset)} not set: set what docs/tuning.md says of a worker")
    name = os.environ[processes.TUNER_ID]
    if not processes.is_worker(os.environ):
        raise UsageError(
            f"{processes.TUNER_ID} is {quoted(name)}, that of a chief, expected another name; the "
            "chief is started with `tfx-mnist run --tune`"
        )
    return name


COMMAND = Command(
    name="worker",
    help="train as one of several machines",
    description="Takes part in the next training of the pipeline root, as one of the machines that "
    "TF_CONFIG\nnames. The first of them runs `tfx-mnist run`. A lost machine costs the epoch that "
    "ran: all\nstart again, wait for it, and go on. With --search it trains the trials that the "
    "chief of a\nsearch, `tfx-mnist run --tune`, proposes.",
    add_options=_add_options,
    after_a_signal="; the same command goes on after the last finished epoch",
    execute=_execute,
    exit_codes={
        0: "trained to the end",
        1: "failed: no training began, the chief ended before, or an error that would come again",
        2: "usage, or the environment makes this machine no worker",
    },
)
