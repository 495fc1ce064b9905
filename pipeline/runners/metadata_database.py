"""ML Metadata's database, looked at before TFX opens it."""

from __future__ import annotations

import contextlib
import sqlite3

from pipeline.config import RunConfig
from pipeline.result import ExitCode
from pipeline.runners.failures import CannotStart, no_space

# A table, its column with the id of each row's owner, the owners' table.
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


def require_sound(config: RunConfig) -> None:
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
