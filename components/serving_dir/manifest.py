"""What is known of a published version: the manifest beside its files, and the model's digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1

ROLLBACK = "rollback"  # the key of a rollback's record in `release`

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileRecord:
    """What the manifest knows of one file: the hex SHA-256 of its content and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Rollback:
    """What a version that was made by a rollback says of it.

    Attributes:
        restores: the version whose files this one holds.
        withdraws: the version that was live before.
        withdrawn_digest: the model digest of that one. None where it could not be read, and where
            this version holds the same model: then its files were damaged, and no model is at
            fault.
        reason: the operator's own words, maybe none.
    """

    restores: int
    withdraws: int
    withdrawn_digest: str | None
    reason: str

    @classmethod
    def from_json(cls, record: object) -> Rollback | None:
        """Reads what `dataclasses.asdict` gave; None for anything else."""
        match record:
            case {
                "restores": int(restores),
                "withdraws": int(withdraws),
                "withdrawn_digest": str() | None as digest,
                "reason": str(reason),
            }:
                return cls(restores, withdraws, digest, reason)
        return None


@dataclass(frozen=True)
class Manifest:
    """What was published: written beside the model as `manifest.json`, never changed afterwards.

    Attributes:
        version: the directory's number.
        published_at: ISO 8601, UTC. For people: nothing is decided by it.
        model_digest: `digest_of` the model's files.
        files: relative POSIX path (undecodable bytes as surrogate escapes) to its record.
        release: the publisher's own JSON object: run, data, metrics, baseline.
    """

    version: int
    published_at: str
    model_digest: str
    files: Mapping[str, FileRecord]
    release: Mapping[str, object]

    @property
    def rollback(self) -> Rollback | None:
        """How this version came about, if by a rollback."""
        return Rollback.from_json(self.release.get(ROLLBACK))

    def to_json(self) -> str:
        """Returns the manifest's file content: plain ASCII, stable order of keys."""
        content = {
            "format": MANIFEST_FORMAT,
            "version": self.version,
            "published_at": self.published_at,
            "model_digest": self.model_digest,
            "files": {
                name: {"sha256": record.sha256, "bytes": record.bytes}
                for name, record in sorted(self.files.items())
            },
            "release": dict(self.release),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is not such a manifest, or its digest is not that of its files.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != MANIFEST_FORMAT:
            raise ValueError(f"not a manifest of format {MANIFEST_FORMAT}")
        try:
            manifest = cls(
                version=int(content["version"]),
                published_at=str(content["published_at"]),
                model_digest=str(content["model_digest"]),
                files={
                    name: FileRecord(sha256=str(record["sha256"]), bytes=int(record["bytes"]))
                    for name, record in content["files"].items()
                },
                release=dict(content["release"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"incomplete manifest: {error!r}") from error
        if not all(_HEX_SHA256.fullmatch(record.sha256) for record in manifest.files.values()):
            raise ValueError("a file's sha256 is not 64 hexadecimal digits")
        if digest_of_records(manifest.files) != manifest.model_digest:
            raise ValueError("its model_digest is not that of its files")
        return manifest


def digest_of_records(files: Mapping[str, FileRecord]) -> str:
    """Returns the digest of a model with these files: SHA-256 over their sorted records."""
    rows = [[name, record.sha256, record.bytes] for name, record in sorted(files.items())]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def differences(
    actual: Mapping[str, FileRecord], others: tuple[str, ...], expected: Mapping[str, FileRecord]
) -> tuple[str, ...]:
    """Returns what is wrong with files: against the manifest, and entries that are no files."""
    problems = [f"{name!r} is a symbolic link or special file" for name in others]
    for name in sorted(actual.keys() | expected.keys()):
        if name not in actual:
            problems.append(f"file {name!r} is missing")
        elif name not in expected:
            problems.append(f"file {name!r} is not in {MANIFEST_NAME}")
        elif actual[name].bytes != expected[name].bytes:
            problems.append(
                f"file {name!r} has {actual[name].bytes} bytes, expected {expected[name].bytes}"
            )
        elif actual[name] != expected[name]:
            problems.append(
                f"file {name!r} has SHA-256 {actual[name].sha256}, expected {expected[name].sha256}"
            )
    return tuple(problems)
