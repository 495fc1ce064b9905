"""What is known of a published version: the manifest beside its files, and the model's digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.serving_dir.release_record import ROLLBACK, Rollback, require_release
from trainer.host.strict_json import is_count, loads
from trainer.host.text import quoted

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1

# A manifest of this tool has 10 kB, and 150 bytes per file: a model of 25,000 files fits.
MAX_MANIFEST_BYTES = 4 << 20

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
# RFC 3339, section 5.6; without an offset as well. `datetime.fromisoformat` takes other times with
# each version of Python.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d+)?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)


@dataclass(frozen=True)
class FileRecord:
    """What the manifest knows of one file: the hex SHA-256 of its content and its size in bytes."""

    sha256: str
    bytes: int


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
        content = loads(text)
        if not isinstance(content, dict) or content.get("format") != MANIFEST_FORMAT:
            raise ValueError(f"not a manifest of format {MANIFEST_FORMAT}")
        manifest = cls(
            version=_count(content, "version"),
            published_at=_time(content, "published_at"),
            model_digest=_digest(content, "model_digest"),
            files={
                name: FileRecord(sha256=_digest(record, "sha256"), bytes=_count(record, "bytes"))
                for name, record in _object(content, "files").items()
            },
            release=require_release(content.get("release")),
        )
        rollback = manifest.rollback
        if rollback and max(rollback.restores, rollback.withdraws) >= manifest.version:
            raise ValueError(f"its rollback is of {rollback.withdraws}, expected an older version")
        if digest_of_records(manifest.files) != manifest.model_digest:
            raise ValueError("its model_digest is not that of its files")
        return manifest


def _field(content: object, name: str) -> object:
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{name} is missing")
    return content[name]


def _object(content: object, name: str) -> dict[str, Any]:
    value = _field(content, name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {quoted(value)}, expected an object")
    return value


def _count(content: object, name: str) -> int:
    value = _field(content, name)
    if not isinstance(value, int) or not is_count(value):
        raise ValueError(f"{name} is {quoted(value)}, expected a whole number of zero or more")
    return value


def _digest(content: object, name: str) -> str:
    value = _field(content, name)
    if not isinstance(value, str) or not _HEX_SHA256.fullmatch(value):
        raise ValueError(f"{name} is {quoted(value)}, expected 64 hexadecimal digits")
    return value


def _time(content: object, name: str) -> str:
    value = _field(content, name)
    if not isinstance(value, str) or not _is_time(value):
        raise ValueError(
            f"{name} is {quoted(value)}, expected a time such as 2026-11-26T10:00:00+00:00"
        )
    return value


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    if not found:
        return False
    try:
        datetime(*map(int, found.groups()))  # type: ignore[arg-type]  # six of its numbers
    except ValueError:
        return False
    return True


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
