"""Whether what a component wrote is still what it wrote.

Synopsis::

    record(store, outputs)                # when the component has executed
    damaged = find_damaged(outputs)       # before an earlier result of it is taken over
    give_up(store, damaged)               # TFX then executes the component again

TFX takes an earlier result over when its directory exists, whatever has become of the files. So
the SHA-256 of an artifact's files is kept with the artifact in ML Metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.serving_dir.durable import copy_file, scan
from pipeline import history

_PROPERTY = "files_sha256"


def record(
    store: metadata_store.MetadataStore, artifacts: Iterable[metadata_store_pb2.Artifact]
) -> None:
    """Keeps the digests of artifacts that have just been written."""
    recorded = list(artifacts)
    for artifact in recorded:
        artifact.custom_properties[_PROPERTY].string_value = digest(Path(artifact.uri))
    store.put_artifacts(recorded)


def find_damaged(
    artifacts: Iterable[metadata_store_pb2.Artifact],
) -> list[metadata_store_pb2.Artifact]:
    """Those whose files are not the recorded ones, or that a run was killed before it recorded."""
    return [
        artifact
        for artifact in artifacts
        if history.text(artifact, _PROPERTY) != digest(Path(artifact.uri))
    ]


def give_up(
    store: metadata_store.MetadataStore, artifacts: Iterable[metadata_store_pb2.Artifact]
) -> None:
    """Marks artifacts, so that nobody takes them over again; the files stay."""
    marked = list(artifacts)
    for artifact in marked:
        artifact.state = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
    store.put_artifacts(marked)


def digest(path: Path) -> str:
    """Hex SHA-256 over the names and contents of all files below a directory, or of one file."""
    if path.is_file():
        return _digest_of_file(path)
    sha256 = hashlib.sha256()
    for name in scan(path).files:
        sha256.update(f"{name}\0{_digest_of_file(path / name)}\n".encode())
    return sha256.hexdigest()


def _digest_of_file(path: Path) -> str:
    return copy_file(path, None, max_bytes=None).sha256  # a data set's records may be of any size
