"""`tfx-mnist worker`: trains for the chief of a training or of a search."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.cli import terminal
from pipeline.cli.command import Reply, UsageError, command, option, path_option
from pipeline.cli.option_types import whole
from pipeline.config import RunConfig
from trainer import supervision
from trainer.cluster import Cluster
from trainer.host.text import quoted
from trainer.job import Job, job_file
from trainer.tuning import processes


@command(
    done="trained to the end",
    failed="no training began, the chief ended before, or an error that would occur again",
    usage="usage, or the environment does not make this machine a worker",
    after_a_signal="; the same command goes on after the last finished epoch",
)
@path_option(
    "--pipeline-root",
    "DIR",
    "Pipeline root of the chief, on a file system that the machines share.",
    default=RunConfig.pipeline_root,
)
@option(
    "--wait",
    "SECONDS",
    "How long to wait for the chief's training to begin.",
    type=whole(0),
    default=3600,
)
@path_option(
    "--search",
    "JOB",
    "Take part in a search instead: the job file that its chief names. The environment says where "
    "the chief is, see docs/tuning.md.",
)
def worker(pipeline_root: Path, wait: int, search: Path | None) -> Reply:
    """Trains as one of several machines.

    Takes part in the next training of the pipeline root. TF_CONFIG names the machines; the first
    one is the chief and runs `tfx-mnist run`. A lost machine costs the running epoch: the others
    wait for it, and all go on after the last finished epoch. With --search it trains the trials
    that the chief of a search, `tfx-mnist run --tune`, proposes.
    """
    with terminal.display(human=sys.stderr, err=sys.stderr, verbose=True):  # logs come there too
        return _train(pipeline_root, wait) if search is None else _search(search)


def _train(pipeline_root: Path, wait: int) -> Reply:
    cluster = Cluster.from_environment()
    if cluster is None:
        raise UsageError(
            "TF_CONFIG names no cluster of several machines: set it as docs/distributed.md says"
        )
    if cluster.is_chief:
        raise UsageError(
            "this machine is number 0 of TF_CONFIG, the chief, expected 1 or more: start "
            "`tfx-mnist run` here"
        )
    file = job_file(pipeline_root.absolute())
    supervision.wait_for(file, seconds=wait)
    supervision.train(file)
    line = f"trained: as machine {cluster.index} of {cluster.size}"
    return Reply({"worker": cluster.index, "workers": cluster.size}, [line])


def _search(job: Path) -> Reply:
    name = _require_worker_of_a_search()
    if not job.is_file():
        raise UsageError(f"there is no file {job}, expected the job file that the chief names")
    try:
        Job.read(job)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{job} is no job file, expected the one that the chief names") from error
    processes.work(job)
    line = f"searched: as {name}, until no trial was left"
    return Reply({"worker": name, "search": str(job)}, [line])


def _require_worker_of_a_search() -> str:
    if problem := processes.address_problem(os.environ):
        raise UsageError(problem)
    name = os.environ[processes.TUNER_ID]
    if not processes.is_worker(os.environ):
        raise UsageError(
            f"{processes.TUNER_ID} is {quoted(name)}, that of a chief, expected another name; the "
            "chief is started with `tfx-mnist run --tune`"
        )
    return name
