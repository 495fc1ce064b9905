"""Runs the pipeline on this machine."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from components.example_gen.sources import DataError, parse_dataset
from components.serving_dir import ServingDirError
from pipeline.config import ConfigError, RunConfig
from pipeline.result import ExitCode, RunResult
from pipeline.runners.failures import CannotStart, no_space
from pipeline.runners.locking import locked
from pipeline.runners.observer import Observer
from trainer import placement, training_process
from trainer.environment import gpu_files

if TYPE_CHECKING:
    from pipeline.run_plan import RunPlan

# TensorFlow and TFX take ten seconds to import. A second run, or an unknown data set, is refused
# before that.

# In ML Metadata's database: a table, its column with the id of each row's owner, the owners' table.
_OWNERS = (
    ("Association", "execution_id", "Execution"),
    ("Association", "context_id", "Context"),
    ("Attribution", "artifact_id", "Artifact"),
    ("Attribution", "context_id", "Context"),
    ("Event", "execution_id", "Execution"),
    ("Event", "artifact_id", "Artifact"),
    ("EventPath", "event_id", "Event"),
    ("ExecutionProperty", "execution_id", "Execution"),
    ("ArtifactProperty", "artifact_id", "Artifact"),
    ("ContextProperty", "context_id", "Context"),
    ("TypeProperty", "type_id", "Type"),
)


def run(config: RunConfig, *, run_id: str, observer: Observer) -> RunResult:
    """Runs the pipeline to a decision; raises CannotStart, also if another run holds its root."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(Path(config.pipeline_root)))
        stack.callback(training_process.end_early)
        plan = _plan(config, run_id)
        os.environ[placement.VARIABLE] = config.training.input
        from pipeline.runners.execution import execute

        return execute(plan, run_id=run_id, observer=observer)


def _plan(config: RunConfig, run_id: str) -> RunPlan:
    try:
        parse_dataset(config.dataset)
        if gpu_files() or not (config.metadata_path.exists() or config.tuning.enabled):
            # The first run of a pipeline root trains. Where there are GPUs, no run begins before
            # this process has said that TensorFlow can use them.
            training_process.start_early(config.replicas)
        from pipeline.run_plan import make_plan

        _require_sound(config)
        if gpu_files():
            training_process.start_early(config.replicas).require_devices()
            if config.tuning.enabled:  # it would wait, and hold memory, until the search has ended
                training_process.end_early()
        return make_plan(config, run_id=run_id)
    except (ConfigError, DataError, ServingDirError, training_process.TrainingFailed) as error:
        raise CannotStart(str(error), ExitCode.USAGE) from error


def _require_sound(config: RunConfig) -> None:
    """Refuses a damaged ML Metadata database; TFX would try it ten times, and not name the file."""
    database = config.metadata_path
    if not database.exists():
        return
    try:
        # Not read-only: what a killed run had begun to write is rolled back when it is opened.
        opened = sqlite3.connect(f"{database.as_uri()}?mode=rw", timeout=1.0, uri=True)
        with contextlib.closing(opened):
            ((finding,), *_) = opened.execute("PRAGMA quick_check(1)").fetchall()
            opened.execute("BEGIN IMMEDIATE")  # fails where it cannot be written to
            if finding == "ok":
                _remove_ownerless(opened)
                opened.commit()
    except sqlite3.Error as error:
        if line := no_space(error, config):
            raise CannotStart(line, ExitCode.FAILED) from error
        finding = str(error)
    if finding != "ok":
        raise CannotStart(
            f"cannot use {database}, where earlier runs are recorded: {' '.join(finding.split())}; "
            "expected an SQLite database to read and to write; move it away, and all is made "
            "again, or choose another --pipeline-root",
            ExitCode.USAGE,
        )


def _remove_ownerless(database: sqlite3.Connection) -> None:
    """Removes rows that belong to an execution, artifact, context or type that is not there.

    When the disk is full, SQLite undoes the transaction by itself, and ML Metadata goes on without
    one. The next execution would get the number of the one that was undone, and its contexts too:
    TFX would take it for one of another component.
    """
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    for table, column, owner in _OWNERS:
        if {table, owner} <= tables:
            database.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT id FROM {owner})")
