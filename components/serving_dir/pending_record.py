"""The record of a model that waits for a person: what was decided, and what will be published."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.serving_dir.baseline import Baseline, Comparison, Decided, compared_now
from components.serving_dir.changing import PENDING_PREFIX
from components.serving_dir.manifest import MAX_MANIFEST_BYTES
from components.serving_dir.model_files import (
    SIGNATURE_NAME,
    ServingDirError,
    explained,
)
from components.serving_dir.reading import withdrawn_digests
from components.serving_dir.version import Sign, Trust
from trainer.host import strict_json
from trainer.host.files import read_regular, write_synced

RECORD = "pending.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of a run, or a document's file

_MAX_BYTES = 4 * MAX_MANIFEST_BYTES  # it holds the documents too


@dataclass(frozen=True)
class Pending:
    """A model that waits: which run held it and when, what was decided, and what is published.

    Attributes:
      signed: whether its version is to be signed; then the record itself is signed too.
    """

    run_id: str
    held_at: str
    decided: Decided
    release: Mapping[str, Any]
    documents: Mapping[str, str]
    signed: bool
    path: Path

    def still_holds(self, serving_dir: Path, trust: Trust | None = None) -> bool:
        """Whether the model may still be released: it would be compared with the same, was neither
        withdrawn nor rejected under another run's name, and is trusted.
        """
        gone = withdrawn_digests(serving_dir)
        same = compared_now(serving_dir, trust) == self.decided.compared
        return same and self.decided.model_digest not in gone and not self.distrusted(trust)

    def distrusted(self, trust: Trust | None) -> str:
        """Says why the signature of what waits does not hold, or ""."""
        return trust(self.path / SIGNATURE_NAME, _signed_part(self)) if trust else ""

    def write(self, directory: Path, sign: Sign | None) -> None:
        """Writes the record, and with `sign` its signature, into a directory.

        Raises ServingDirError for a record of more than 16 MiB, and OSError.
        """
        write_synced(directory / RECORD, _to_json(self))
        if sign is not None:
            write_synced(directory / SIGNATURE_NAME, sign(_signed_part(self)))


def read(path: Path) -> Pending:
    """Reads what waits in a directory; raises ServingDirError if the record is damaged."""
    record = path / RECORD
    with explained(f"read what waits in {path}"):
        text = read_regular(record, max_bytes=_MAX_BYTES)
    try:
        content = strict_json.loads(text.decode("ascii"))
        if not isinstance(content, dict) or content.pop("sha256", None) != _digest(content):
            raise ValueError("its sha256 is not that of its content")
        held = _held(content, path)
        if path.name != f"{PENDING_PREFIX}{held.run_id}":
            raise ValueError(f"it is that of the run {held.run_id}")
        return held
    except (ValueError, TypeError) as error:
        raise ServingDirError(
            f"{record} is damaged ({error}): remove {path}, and run again"
        ) from error


def _to_json(held: Pending) -> str:
    content = _content(held)
    text = json.dumps({**content, "sha256": _digest(content)}, indent=2) + "\n"
    if len(text) > _MAX_BYTES:
        raise ServingDirError(
            f"the release record and its documents have {len(text):,} bytes, expected at most "
            f"{_MAX_BYTES:,}: release this model without --hold"
        )
    return text


def _content(held: Pending) -> dict[str, Any]:
    content = asdict(held)
    del content["path"]
    return content


def _signed_part(held: Pending) -> dict[str, str]:
    return {RECORD: _digest(_content(held))}


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def _held(content: object, path: Path) -> Pending:
    match content:
        case {
            "run_id": str(run_id),
            "held_at": str(held_at),
            "decided": {
                "model_digest": str(digest),
                "compared": {
                    "baseline": None | {"version": int(), "model_digest": str()} as baseline,
                    "damage": None | str() as damage,
                },
            },
            "release": dict(release),
            "documents": dict(documents),
            "signed": bool(signed),
        } if all(NAME.fullmatch(name) and isinstance(documents[name], str) for name in documents):
            compared = Comparison(baseline and Baseline(**baseline), damage)
            decided = Decided(digest, compared)
            return Pending(run_id, held_at, decided, release, documents, signed, path)
    raise ValueError("it is no record of a model that waits")
