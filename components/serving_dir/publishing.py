"""A model becomes the newest version: prepared aside, then made visible by one rename."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.serving_dir.baseline import Decided, compared_now
from components.serving_dir.changing import appear, locked, make_serving_dir, staging_in
from components.serving_dir.log import utc_now
from components.serving_dir.manifest import MAX_MANIFEST_BYTES, Manifest
from components.serving_dir.model_files import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    FileRecord,
    ServingDirError,
    StaleDecision,
    copy_file,
    copy_tree,
    digest_of_records,
    explained,
    scan_model,
)
from components.serving_dir.reading import live, withdrawn_digests
from components.serving_dir.version import Sign, Trust, require_signed, signed_files, verify
from trainer.host.files import write_synced
from trainer.host.strict_json import INT64_MAX


@dataclass(frozen=True)
class Published:
    """What `publish` did: `created` is False where the model was the newest version already."""

    version: int
    path: Path
    created: bool
    model_digest: str


def publish(
    model_dir: Path,
    serving_dir: Path,
    release: Mapping[str, object],
    *,
    decided: Decided | None = None,
    documents: Mapping[str, str] | None = None,
    sign: Sign | None = None,
    trust: Trust | None = None,
) -> Published:
    """Makes a copy of a model the newest version, atomically and durably.

    A model that is the highest version already is not published again, unless that version is
    damaged, or lacks the signature that `sign` makes: TensorFlow Serving would look at nothing but
    the highest. Where that version is signed, no other one follows it unsigned.

    A decision is held against the directory under the lock, after the copy
    (docs/decisions/0005-a-decision-is-held-under-the-lock.md). A decision that was carried out
    already holds as long as its model is live: who tries again after a kill finds it published.

    Args:
        decided: None where the caller answers for the model, which may be a withdrawn one.
        documents: texts to put beside the model, by file name.
        sign: makes the version's signature; none is written without it.
        trust: what `decided` was compared with, see `compared_now`.

    Raises:
        StaleDecision: the decision does not hold any more; nothing was published.
        ServingDirError: nothing was published, and nothing was left behind; but for one case,
            which the message names: the version is in place, and the last sync failed.
    """
    what = f"publish {model_dir} to {serving_dir}"
    with explained(what, ", and publish again; no version was added"):
        model = scan_model(model_dir)
        require_apart(model_dir, serving_dir)
        make_serving_dir(serving_dir)
        with locked(serving_dir), staging_in(serving_dir) as staging:
            files = copy_tree(model, staging)
            digest = digest_of_records(files)
            if decided is not None:
                require_serveable(model_dir, digest, serving_dir, decided)
            if published := already_live(serving_dir, digest, trust, signed=sign is not None):
                return published
            if decided is not None:
                require_same_comparison(serving_dir, decided, trust)
            require_signed(live(serving_dir), signs=sign is not None)
            written = _write_documents(staging, documents or {})
            path = add_version(staging, files, release, written, sign)
            return Published(int(path.name), path, True, digest)


def _write_documents(staging: Path, documents: Mapping[str, str]) -> dict[str, FileRecord]:
    for name, text in documents.items():
        if os.path.lexists(staging / name):
            raise ServingDirError(
                f"the model holds {name!r}, a name kept for a document of the release: rename it"
            )
        write_synced(staging / name, text)
    return {name: copy_file(staging / name, None) for name in documents}


def add_version(
    staging: Path,
    files: Mapping[str, FileRecord],
    release: Mapping[str, object],
    documents: Mapping[str, FileRecord],
    sign: Sign | None,
) -> Path:
    """Makes the synced files in a staging directory the newest version, with the lock held.

    Raises:
        ServingDirError: the numbers are used up; or, where the message says that the version is in
            place, the last sync failed.
        OSError: no version was added.
    """
    serving_dir = staging.parent
    number = _next_number(serving_dir)
    manifest = Manifest(number, utc_now(), digest_of_records(files), files, release, documents)
    content = readable(manifest)
    write_synced(staging / MANIFEST_NAME, content)
    if sign is not None:
        signature = sign(signed_files(manifest, content.encode()))
        write_synced(staging / SIGNATURE_NAME, signature)
    target = serving_dir / str(number)
    appear(staging, target, f"version {number} is complete and in place at {target}")
    return target


def already_live(
    serving_dir: Path, digest: str, trust: Trust | None, *, signed: bool
) -> Published | None:
    """Returns the live version if it holds the model of this digest undamaged, and is signed where
    a new one would be.
    """
    newest = live(serving_dir)
    if newest is None or newest.model_digest != digest or verify(newest, trust):
        return None
    if signed and not newest.is_signed:
        return None
    return Published(newest.number, newest.path, False, digest)


def require_serveable(model: Path, digest: str, serving_dir: Path, decided: Decided) -> None:
    """Raises StaleDecision if the model is another one, or was withdrawn or rejected since."""
    if digest != decided.model_digest:
        raise StaleDecision(
            f"the model {model} has the digest {digest}, expected {decided.model_digest}, which "
            "was decided on: it was changed since; run again with --no-cache"
        )
    withdrawal = withdrawn_digests(serving_dir).get(digest)
    if withdrawal is not None:
        raise StaleDecision(
            f"since the decision this very model was {withdrawal}; train another one"
        )


def require_same_comparison(serving_dir: Path, decided: Decided, trust: Trust | None) -> None:
    """Raises StaleDecision if the model would be compared with something else now."""
    compared = compared_now(serving_dir, trust)
    if compared != decided.compared:
        raise StaleDecision(
            f"the model was compared with {decided.compared}, but since then {serving_dir} was "
            f"changed, and it would be compared with {compared}; run again, which compares the "
            "model with that"
        )


def require_apart(model_dir: Path, serving_dir: Path) -> None:
    """Raises ServingDirError for a serving directory inside the model."""
    # `Path.resolve` raises an error of its own for a loop of links, before Python 3.13.
    model, serving = Path(os.path.realpath(model_dir)), Path(os.path.realpath(serving_dir))
    if model in (serving, *serving.parents):
        raise ServingDirError(
            f"the serving directory {serving_dir} is inside the model {model_dir}: choose another"
        )


def readable(manifest: Manifest) -> str:
    """Returns the file's content; refuses what would be a damaged version from the first moment."""
    try:
        text = manifest.to_json()
        Manifest.from_json(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ServingDirError(
            f"the manifest could not be read again: {error}; give another release record, of text, "
            "finite numbers, booleans, None, lists and objects"
        ) from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise ServingDirError(
            f"the manifest has {len(text):,} bytes, expected at most {MAX_MANIFEST_BYTES:,}: "
            "give a model of fewer files, or a smaller release record"
        )
    return text


def _next_number(serving_dir: Path) -> int:
    newest = live(serving_dir)
    if newest is None:
        return 1
    if newest.number == INT64_MAX:
        raise ServingDirError(
            f"{newest.path} has the highest number that TensorFlow Serving can read: move it away"
        )
    return newest.number + 1
