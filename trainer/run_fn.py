"""`run_fn`, which TFX's Trainer calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer import supervision
from trainer.cluster import Cluster
from trainer.job import Job, job_file
from trainer.training_process import train_alone


def run_fn(fn_args: Any) -> None:
    """Trains and exports in a process of its own, which alone sees the GPUs; with TF_CONFIG as the
    chief of the machines that it names.

    `fn_args` are TFX's `FnArgs`; see `trainer.job.Job`. Raises `ClusterError` or
    `training_process.TrainingFailed`.
    """
    job = Job.from_fn_args(fn_args)
    if Cluster.from_environment() is None:
        train_alone(job)
        return
    supervision.lead(job, job_file(Path(job.custom_config["checkpoints"]).parent))
