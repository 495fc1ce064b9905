"""Runs the pipeline on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.example_gen.sources import parse_dataset
from pipeline.config import RunConfig
from pipeline.result import RunResult
from pipeline.runners.failures import starting
from pipeline.runners.locking import locked
from pipeline.runners.metadata_database import require_sound
from pipeline.runners.observer import Observer
from trainer import placement, training_process
from trainer.environment import gpu_files

if TYPE_CHECKING:
    from pipeline.run_plan import RunPlan

# TensorFlow and TFX take ten seconds to import. A second run, or an unknown data set, is refused
# before that.


def run(config: RunConfig, *, run_id: str, observer: Observer) -> RunResult:
    """Runs the pipeline to a decision; raises CannotStart, also if another run holds its root."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(Path(config.pipeline_root)))
        stack.callback(training_process.end_early)
        plan = _plan(config, run_id)
        os.environ[placement.VARIABLE] = config.training.input
        from pipeline.runners.execution import execute

        return execute(plan, run_id=run_id, observer=observer)


@starting()
def _plan(config: RunConfig, run_id: str) -> RunPlan:
    parse_dataset(config.dataset)
    if gpu_files() or not (config.metadata_path.exists() or config.tuning.enabled):
        # The first run of a pipeline root trains. Where there are GPUs, no run begins before this
        # process has said that TensorFlow can use them.
        training_process.start_early(config.replicas)
    from pipeline.run_plan import make_plan

    require_sound(config)
    if gpu_files():
        training_process.start_early(config.replicas).require_devices()
        if config.tuning.enabled:  # it would wait, and hold memory, until the search has ended
            training_process.end_early()
    return make_plan(config, run_id=run_id)
