"""The executions of a run in ML Metadata: which component ran, from what code, what it wrote.

Synopsis::

    for one in executions_of(Path("pipeline_root/metadata.sqlite"), "20261124T113527Z-2dfe"):
        print(one.component, one.state, one.made_by)
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore

# The property of an artifact that holds the digest of its files.
DIGEST = "files_sha256"
CODE = "code"  # the parameter of a component that holds the digest of the code that it runs

_OF_NO_FILES = hashlib.sha256().hexdigest()
_RUN, _NODE = "pipeline_run", "node"  # types of contexts, as TFX names them


class NoMetadata(Exception):
    """There is no database to read; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Written:
    """An artifact; the digest is that of its files, None where it has none or none was recorded."""

    output: str
    uri: str
    sha256: str | None


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of a component.

    Attributes:
      state: ML Metadata's, such as "complete", "cached" or "failed".
      started: ISO 8601, UTC.
      seconds: None where the machine's clock was set back before it ended.
      code: digest of the code that it ran, None where TFX runs no code of ours.
      made_by: the execution that wrote the artifacts, another one if they came from the cache.
    """

    id: int
    component: str
    state: str
    started: str
    seconds: float | None
    code: str | None
    made_by: int
    outputs: tuple[Written, ...]


def executions_of(database: Path, run_id: str) -> list[Execution]:
    """Returns the executions of a run in order, those after it began again as well.

    Raises NoMetadata if the database is missing or cannot be read.
    """
    _require_database(database)
    # Behind them stand gRPC and the C++ library.
    from ml_metadata import errors
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as pb2

    config = pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(database)
    config.sqlite.connection_mode = pb2.SqliteMetadataSourceConfig.READONLY
    try:
        store = MetadataStore(config)
        contexts = [
            context
            for context in store.get_contexts_by_type(_RUN)
            if is_of_run(context.name, run_id)
        ]
        found = {
            each.id: each for one in contexts for each in store.get_executions_by_context(one.id)
        }
        return [_described(store, found[number]) for number in sorted(found)]
    except errors.StatusError as error:
        raise NoMetadata(f"{database} cannot be read: {error}") from error


def is_of_run(recorded: object, run_id: str) -> bool:
    """Whether an id is that of the run, or the one under which the run began again."""
    return f"{recorded}-".startswith(f"{run_id}-")


def _require_database(database: Path) -> None:
    if not database.is_file():
        raise NoMetadata(f"there is no {database}: give the --pipeline-root of the run")
    try:
        opened = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", timeout=1.0, uri=True)
        with contextlib.closing(opened):
            opened.execute("SELECT count(*) FROM Execution").fetchall()
            # ML Metadata would print a warning of its own about a page that is damaged.
            ((finding,), *_) = opened.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        finding = str(error)
    if finding != "ok":
        raise NoMetadata(f"{database} cannot be read: {' '.join(finding.split())}")


def _described(store: MetadataStore, execution: Any) -> Execution:
    from ml_metadata.proto import metadata_store_pb2 as pb2

    began, ended = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    writes = (pb2.Event.OUTPUT, pb2.Event.DECLARED_OUTPUT)
    contexts = store.get_contexts_by_execution(execution.id)
    node = next(context.name for context in contexts if context.type == _NODE)
    outputs, makers = [], set()
    names = {
        each.artifact_id: each.path.steps[0].key if each.path.steps else ""
        for each in store.get_events_by_execution_ids([execution.id])
        if each.type in writes
    }
    for artifact in store.get_artifacts_by_id(list(names)):
        digest = artifact.custom_properties[DIGEST].string_value
        known = digest not in ("", _OF_NO_FILES)
        outputs.append(Written(names[artifact.id], artifact.uri, digest if known else None))
        events = store.get_events_by_artifact_ids([artifact.id])
        makers.add(min(each.execution_id for each in events if each.type in writes))
    return Execution(
        id=execution.id,
        component=node.rpartition(".")[2],
        state=pb2.Execution.State.Name(execution.last_known_state).lower(),
        started=datetime.datetime.fromtimestamp(began / 1000, datetime.timezone.utc).isoformat(
            timespec="seconds"
        ),
        seconds=round((ended - began) / 1000, 3) if ended >= began else None,
        code=execution.custom_properties[CODE].string_value or None,
        made_by=min(makers, default=execution.id),
        outputs=tuple(outputs),
    )
