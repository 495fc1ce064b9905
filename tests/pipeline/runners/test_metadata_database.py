"""ML Metadata on a disk that is really full: what it half writes must not stay."""

import os
import subprocess
import sys
from pathlib import Path

from tests.limits import ROOT, on_a_small_disk

# Writes an execution while the disk has so many bytes left, for each number in turn. On some of
# them SQLite undoes the transaction, and ML Metadata goes on, and attaches contexts to nothing.
PROGRAM = """
import os, sqlite3, sys
from pathlib import Path
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb2
from pipeline.config import RunConfig
from pipeline.runners.metadata_database import require_sound
from pipeline.runners.failures import no_space

config = RunConfig(pipeline_root=sys.argv[1])
database, ballast = config.metadata_path, Path(sys.argv[1], "ballast")
connection = pb2.ConnectionConfig()
connection.sqlite.filename_uri = str(database)

def attached():
    with sqlite3.connect(database) as opened:
        return opened.execute("SELECT execution_id FROM Association").fetchall()

def execute(store, context):
    execution = pb2.Execution(type_id=kind, last_known_state=pb2.Execution.RUNNING)
    execution.custom_properties["code"].string_value = "c" * 100
    event = pb2.Event(type=pb2.Event.INPUT)
    event.path.steps.add().key = "model"
    contexts = [pb2.Context(type_id=node, name=name) for name in ("pipeline", context)]
    given = [(pb2.Artifact(id=artifact, type_id=model, uri="x"), event)]
    return store.put_execution(execution, given, contexts, reuse_context_if_already_exist=True)[0]

store = MetadataStore(connection)
node = store.put_context_type(pb2.ContextType(name="node"))
kind = store.put_execution_type(pb2.ExecutionType(name="Gate"))
model = store.put_artifact_type(pb2.ArtifactType(name="Model"))
(artifact,) = store.put_artifacts([pb2.Artifact(type_id=model, uri="x")])
del store
sound, found = database.read_bytes(), 0
for left in range(4096, 1 << 17, 4096):
    database.write_bytes(sound)
    store = MetadataStore(connection)
    disk = os.statvfs(sys.argv[1])
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - left))
    try:
        execute(store, "of the full disk")
        break
    except Exception as error:
        line = no_space(error, config)
        assert line and line.startswith("no space left on device"), error
    ballast.unlink()
    found += bool(attached())
    require_sound(config)
    assert attached() == []
    number = execute(MetadataStore(connection), "of the next run")
    assert attached() == [(number,)] * 2, (left, attached())
print(found)
"""


def test_what_a_full_disk_left_of_an_execution_is_not_the_next_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(
        on_a_small_disk(tmp_path, "10m", command),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0
