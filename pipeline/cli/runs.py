"""`tfx-mnist runs`: all runs of a pipeline root, with the outcome and the reason of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline import records
from pipeline.cli import output
from pipeline.cli.command import Reply, UsageError, command, path_option
from pipeline.config import RunConfig
from pipeline.records import RunRecord
from trainer.host.paths import missing
from trainer.host.text import duration

_UNKNOWN = "-"
_HEADER = ("started (UTC)", "run", "outcome", "data set", "accuracy", "version", "time", "reason")


@command(
    done="listed",
    failed="the pipeline root cannot be read",
    usage="usage, or there is no such pipeline root",
    shows=lambda _: True,
)
@path_option(
    "--pipeline-root",
    "DIR",
    "Directory in which `run` wrote.",
    default=RunConfig.pipeline_root,
)
def runs(pipeline_root: Path) -> Reply:
    """Lists all runs of a pipeline root, the newest first.

    Shows for every run when it started, how it ended and why, on which data, its accuracy on the
    test split, and the version that holds its model. A run that is at work or was killed is
    unfinished.
    """
    if not os.path.isdir(pipeline_root):
        actual = missing(pipeline_root) or "is no directory"
        raise UsageError(
            f"the pipeline root {pipeline_root} {actual}: give the --pipeline-root of the runs"
        )
    try:
        found = records.read_all(pipeline_root)
    except PermissionError as error:
        raise UsageError(
            f"cannot read {error.filename}: {error.strerror}; give another --pipeline-root"
        ) from error
    fields = {"pipeline_root": str(pipeline_root), "runs": [run.to_dict() for run in found]}
    return Reply(fields, _lines(pipeline_root, found))


def _lines(root: Path, found: Sequence[RunRecord]) -> list[str]:
    listed = output.table([_HEADER, *map(_row, found)]) if found else ["no run yet"]
    return [f"pipeline root: {root}", *listed]


def _row(run: RunRecord) -> tuple[str, ...]:
    return (
        f"{run.started:%Y-%m-%d %H:%M:%S}",
        run.run_id,
        run.outcome,
        run.dataset or _UNKNOWN,
        _UNKNOWN if run.accuracy is None else f"{run.accuracy:.4f}",
        _UNKNOWN if run.version is None else str(run.version),
        _UNKNOWN if run.seconds is None else duration(run.seconds),
        run.reason,
    )
