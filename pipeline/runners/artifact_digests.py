"""Finds artifacts whose files are no longer those that their component wrote.

TFX takes over an earlier result if its directory exists, without looking at the files. So the
SHA-256 of an artifact's files is kept with the artifact in ML Metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.types.artifact import Artifact, ArtifactState

from components.serving_dir.model_files import copy_file, scan
from pipeline.executions import DIGEST

_Find = Callable[[str], Path]  # where an artifact's files are, by its URI


def record(store: MetadataStore, artifacts: Sequence[Artifact], find: _Find = Path) -> None:
    """Records the digests of artifacts that have just been written."""
    for artifact in artifacts:
        artifact.set_string_custom_property(DIGEST, digest(find(artifact.uri)))
    store.put_artifacts([artifact.mlmd_artifact for artifact in artifacts])


def find_damaged(artifacts: Sequence[Artifact], find: _Find = Path) -> list[Artifact]:
    """Returns the artifacts whose files differ from the recorded digest, or that have none."""
    return [
        artifact
        for artifact in artifacts
        if artifact.get_string_custom_property(DIGEST) != digest(find(artifact.uri))
    ]


def give_up(store: MetadataStore, artifacts: Sequence[Artifact]) -> None:
    """Marks artifacts so that no run takes them over again; their files stay."""
    for artifact in artifacts:
        artifact.state = ArtifactState.MARKED_FOR_DELETION
    store.put_artifacts([artifact.mlmd_artifact for artifact in artifacts])


def digest(path: Path) -> str:
    """Returns a hex SHA-256 over names and contents of the files at a path."""
    if path.is_file():
        return _digest_of_file(path)
    sha256 = hashlib.sha256()
    for name in scan(path).files:
        sha256.update(f"{name}\0{_digest_of_file(path / name)}\n".encode())
    return sha256.hexdigest()


def _digest_of_file(path: Path) -> str:
    return copy_file(path, None, max_bytes=None).sha256  # a data set's records may be of any size
