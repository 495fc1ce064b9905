"""What is known of a published version: the manifest beside its files, with its release record.

The release record is the publisher's own JSON object. What is read of it again is of the expected
type, or null, or missing; a record that holds something else there is damaged.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from components.serving_dir.model_files import FileRecord, digest_of_records
from trainer.host.strict_json import is_count, loads, record_of
from trainer.host.text import quoted

MANIFEST_FORMAT = 1
# Keys of a release record: how a rollback made the version, who approved it, and which keys were
# overridden for it and why.
ROLLBACK, APPROVAL, OVERRIDES = "rollback", "approval", "overrides"

# A manifest of this tool has 10 kB, and 150 bytes per file: a model of 25,000 files fits.
MAX_MANIFEST_BYTES = 4 << 20

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
# RFC 3339, section 5.6; without an offset as well. `datetime.fromisoformat` takes other times with
# each version of Python.
_TIME_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d+)?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Rollback:
    """How a version came about that a rollback made.

    `withdrawn_digest` is that of the model that was live before. It is None where it could not be
    read, and where this version holds the same model: only its files were at fault then.
    """

    restores: int
    withdraws: int
    withdrawn_digest: str | None
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What was published: written beside the model as `manifest.json`, never changed afterwards.

    Attributes:
        published_at: ISO 8601, UTC. For people: nothing is decided by it.
        model_digest: see `digest_of`.
        files: those of the model, by relative POSIX path (undecodable bytes as surrogate escapes).
        release: the publisher's own JSON object: run, data, metrics, baseline.
        documents: further files of the version, which are no part of the model or its digest.
    """

    version: int
    published_at: str
    model_digest: str
    files: Mapping[str, FileRecord]
    release: Mapping[str, object]
    documents: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def all_files(self) -> dict[str, FileRecord]:
        """Every file of the version but the manifest itself."""
        return {**self.files, **self.documents}

    @property
    def rollback(self) -> Rollback | None:
        return record_of(Rollback, self.release.get(ROLLBACK))

    def to_json(self) -> str:
        """Returns the manifest's file content: plain ASCII, stable order of keys."""
        content = {
            "format": MANIFEST_FORMAT,
            "version": self.version,
            "published_at": self.published_at,
            "model_digest": self.model_digest,
            "files": _to_json(self.files),
            **({"documents": _to_json(self.documents)} if self.documents else {}),
            "release": dict(self.release),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    @functools.cache  # a run reads all manifests many times
    def from_json(cls, text: str) -> Manifest:
        """Reads what `to_json` wrote; raises ValueError for any other text or a wrong digest."""
        content = loads(text)
        if not isinstance(content, dict) or content.get("format") != MANIFEST_FORMAT:
            raise ValueError(f"not a manifest of format {MANIFEST_FORMAT}")
        _require_kinds(content)
        manifest = cls(
            version=content["version"],
            published_at=content["published_at"],
            model_digest=content["model_digest"],
            files=_from_json(content["files"]),
            release=content["release"],
            documents=_from_json(content.get("documents") or {}),  # left out where there are none
        )
        for name in sorted(manifest.files.keys() & manifest.documents.keys()):
            raise ValueError(f"it lists {name!r} among files and documents")
        rollback = manifest.rollback
        if rollback and (newest := max(rollback.restores, rollback.withdraws)) >= manifest.version:
            raise ValueError(f"its rollback is of {newest}, expected an older version")
        if digest_of_records(manifest.files) != manifest.model_digest:
            raise ValueError("its model_digest is not that of its files")
        return manifest


def _to_json(files: Mapping[str, FileRecord]) -> dict[str, dict[str, Any]]:
    return {name: asdict(record) for name, record in sorted(files.items())}


def _from_json(files: Mapping[str, Any]) -> dict[str, FileRecord]:
    return {name: FileRecord(one["sha256"], one["bytes"]) for name, one in files.items()}


# What is expected, in words and as a test.
_Kind = tuple[str, Callable[[object], bool]]


def _require_kinds(content: Mapping[str, Any]) -> None:
    for place, (expected, fits) in _USED.items():
        value: Any = content
        for name in place.split("."):
            value = value.get(name)
            if value is None:
                break
        if not fits(value) and (value is not None or place in _NEEDED):
            raise ValueError(f"{place} is {quoted(value)}, expected {expected}")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _HEX_SHA256.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    found = _TIME_FORM.fullmatch(value) if isinstance(value, str) else None
    try:
        return found is not None and bool(datetime(*map(int, found.groups())))  # type: ignore[arg-type]
    except ValueError:  # such as February 29
        return False


def _are_files(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_file, value.values()))


def _is_file(value: object) -> bool:
    record = record_of(FileRecord, value)
    return record is not None and _is_digest(record.sha256)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_baseline(value: object) -> bool:
    match value:
        case {"version": version, "model_digest": str(digest)}:
            return is_count(version) and bool(digest)
    return False


def _is_image_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(is_count, value))


def _are_splits(value: object) -> bool:
    """Tells whether these are `components.example_gen.examples_summary.SplitSummary`, as JSON."""
    return isinstance(value, Mapping) and all(map(_is_split, value.values()))


def _is_split(value: object) -> bool:
    match value:
        case {"rows": rows, "class_counts": list(counts), "digest": str()}:
            return all(map(is_count, [rows, *counts]))
    return False


def _is_approval(value: object) -> bool:
    match value:
        case {"run_id": str(), "held_at": str(), "at": at, "by": str(), "reason": str()}:
            return _is_time(at)
    return False


def are_overrides(value: object) -> bool:
    """Whether a value holds keys and a reason, as `overrides` of a release record does."""
    match value:
        case {"keys": keys, "reason": str()}:
            return _are_texts(keys)
    return False


_TEXT: _Kind = ("a text", lambda value: isinstance(value, str))
_OBJECT: _Kind = ("an object", lambda value: isinstance(value, Mapping))

_NEEDED = ("version", "published_at", "model_digest", "files", "release")

# What is read of a manifest, by its place in it. Parents first.
_USED: Mapping[str, _Kind] = {
    "version": ("a whole number of zero or more", is_count),
    "published_at": ("a time such as 2026-11-26T10:00:00+00:00", _is_time),
    "model_digest": ("64 hexadecimal digits", _is_digest),
    "files": ("the sha256 and bytes of each file", _are_files),
    "documents": ("the sha256 and bytes of each file", _are_files),
    "release": _OBJECT,
    "release.run_id": _TEXT,
    "release.run_key": _TEXT,
    "release.release_token": _TEXT,
    "release.baseline": ("an object with a version and a model_digest", _is_baseline),
    "release.dataset": _OBJECT,
    "release.dataset.name": _TEXT,
    "release.dataset.fingerprint": _TEXT,
    "release.dataset.class_names": ("a list of texts", _are_texts),
    "release.dataset.image_shape": ("height, width and channels", _is_image_shape),
    "release.dataset.resize": _TEXT,
    "release.dataset.splits": ("the rows, class_counts and digest of each split", _are_splits),
    "release.metrics": _OBJECT,
    "release.metrics.accuracy": ("a number from 0 to 1", _is_fraction),
    "release.policy": _OBJECT,
    "release.policy.floor": ("a number from 0 to 1", _is_fraction),
    f"release.{APPROVAL}": ("run_id, times, by and reason", _is_approval),
    f"release.{OVERRIDES}": ("keys and a reason", are_overrides),
    f"release.{ROLLBACK}": (
        "restores, withdraws, withdrawn_digest and reason",
        lambda value: record_of(Rollback, value) is not None,
    ),
}
