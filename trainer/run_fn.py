"""`run_fn`, which TFX's Trainer calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer import supervision
from trainer.cluster import Cluster
from trainer.job import Job, job_file


def run_fn(fn_args: Any) -> None:
    """Trains and exports, in this process or as the chief of the machines that TF_CONFIG names.

    `fn_args` are TFX's `FnArgs`; see `trainer.job.Job`. Raises `ClusterError`,
    `supervision.TrainingFailed`, or as `training.train_and_export` does.
    """
    job = Job.from_fn_args(fn_args)
    cluster = Cluster.from_environment()
    if cluster is None:
        from trainer.training import train_and_export

        train_and_export(job, cluster)
        return
    file = job_file(Path(job.custom_config["checkpoints"]).parent)
    job.write(file)
    try:
        supervision.train(file)
    finally:
        file.unlink(missing_ok=True)
