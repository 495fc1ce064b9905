"""The directories in which a run writes, looked at before the first of them is made."""

from __future__ import annotations

import os
from pathlib import Path

from components import serving_dir
from pipeline.config import ConfigError, RunConfig
from pipeline.stores import is_uri
from trainer.host import paths
from trainer.host.text import quoted

# What a run writes below the pipeline root.
_WRITTEN = (
    *("artifacts", "checkpoints", "copies", "kubeflow", "logs", "reports", "serving", "tuning"),
)

# SQLite, as ML Metadata brings it, opens a path that has 512 bytes with "-journal" behind it.
MAX_DATABASE_PATH = 504


def require_log_place(config: RunConfig, directory: Path) -> None:
    """Refuses a directory in which no decision could be logged: it is the serving directory or lies
    below the pipeline root.
    """
    paths.require_place("serving_dir" if config.serving_dir else "pipeline_root", directory)
    serving_dir.require_no_version(directory)


def require_places(config: RunConfig) -> None:
    """Refuses a directory in which nothing could be written."""
    for name in ("", *_WRITTEN):
        paths.require_directory("pipeline_root", Path(config.pipeline_root, name))
    _require_short(config.metadata_path)
    if config.serving_dir is not None:
        paths.require_directory("serving_dir", config.serving_dir)
        serving_dir.require_no_version(config.serving_dir)
    if config.artifacts is not None and not is_uri(config.artifacts):
        paths.require_directory("artifacts", config.artifacts)
    paths.require_temporary_directory()


def _require_short(database: Path) -> None:
    length = len(os.fsencode(os.path.realpath(database)))
    if length > MAX_DATABASE_PATH:
        raise ConfigError(
            f"pipeline_root is {quoted(str(database.parent))}, where {database.name} has a path of "
            f"{length:,} bytes, expected {MAX_DATABASE_PATH} at most, as SQLite takes it: choose a "
            "shorter pipeline_root"
        )
