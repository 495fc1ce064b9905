"""A model becomes the newest version."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.serving_dir.baseline import Decided, compared_now
from components.serving_dir.changing import (
    DEFAULT_LOCK_TIMEOUT_S,
    add_version,
    changing,
    staging_in,
    utc_now,
)
from components.serving_dir.durable import Tree, copy_file, copy_tree, scan
from components.serving_dir.errors import ServingDirError, StaleDecision, explain
from components.serving_dir.manifest import MANIFEST_NAME, digest_of_records
from components.serving_dir.reading import live, withdrawn_digests
from components.serving_dir.version import Version, verify
from trainer.host.files import make_directory


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
    now: Callable[[], datetime] = utc_now,
    lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
) -> Published:
    """Makes a copy of a model the newest version, atomically and durably.

    A model whose digest is that of the highest version already is not published again. Where the
    highest version is damaged it is: TensorFlow Serving would look at nothing but the highest.

    A decision is held against the directory under the lock, after the copy: between the decision
    and the lock, others may have published, rolled back, or changed the model. A decision that was
    carried out already still holds as long as its model is live: who tries again after a kill, or
    a lost answer, finds the model published.

    Args:
        model_dir: directory with at least one file, and without symbolic links.
        serving_dir: created if need be; its parents too.
        release: JSON object for the manifest.
        decided: what was decided on; None where nobody decided, and the caller answers for the
            model: it may be another one than was judged, or a withdrawn one.
        now: the clock for `published_at`.
        lock_timeout_s: how long to wait for another process that changes it, in seconds.

    Raises:
        StaleDecision: the decision does not hold any more; nothing was published.
        ServingDirError: nothing was published, and nothing was left behind; but for one case,
            which the message names: the version is in place, and the last sync failed.
    """
    model_dir, serving_dir = Path(model_dir), Path(serving_dir)
    _require_json(release)
    try:
        model = _scan_model(model_dir)
        _require_apart(model_dir, serving_dir)
        _make_serving_dir(serving_dir)
        with changing(serving_dir, timeout_s=lock_timeout_s):
            return _publish_locked(model, serving_dir, release, decided, now)
    except OSError as error:
        raise ServingDirError(
            f"cannot publish {model_dir} to {serving_dir}: {explain(error)}, and publish again; "
            "no version was added"
        ) from error


def digest_of(model_dir: Path) -> str:
    """Returns a model's digest: SHA-256 over the sorted (path, SHA-256, size) of its files.

    Times, owners, permissions and empty directories have no influence.

    Raises:
        ServingDirError: no such directory, no file in it, or a symbolic link or special file.
    """
    try:
        model = _scan_model(Path(model_dir))
        return digest_of_records({name: copy_file(model.root / name, None) for name in model.files})
    except OSError as error:
        raise ServingDirError(f"cannot read the model {model_dir}: {explain(error)}") from error


def _publish_locked(
    model: Tree,
    serving_dir: Path,
    release: Mapping[str, object],
    decided: Decided | None,
    now: Callable[[], datetime],
) -> Published:
    with staging_in(serving_dir) as staging:
        files = copy_tree(model, staging)
        digest = digest_of_records(files)
        if decided is not None:
            _require_serveable(model.root, digest, serving_dir, decided)
        newest = live(serving_dir)
        if newest and _is_model(newest, digest):
            return Published(newest.number, newest.path, False, digest)
        if decided is not None:
            _require_same_comparison(serving_dir, decided)
        path = add_version(staging, files, release, now)
    return Published(int(path.name), path, True, digest)


def _require_serveable(model: Path, digest: str, serving_dir: Path, decided: Decided) -> None:
    """The copy is the model that was judged, and nobody has withdrawn that one."""
    if digest != decided.model_digest:
        raise StaleDecision(
            f"the model {model} has the digest {digest}, expected {decided.model_digest}, which "
            "was decided on: it was changed since; run again with --no-cache"
        )
    withdrawal = withdrawn_digests(serving_dir).get(digest)
    if withdrawal is not None:
        raise StaleDecision(
            f"this very model was withdrawn after the decision, {withdrawal}; train another one"
        )


def _require_same_comparison(serving_dir: Path, decided: Decided) -> None:
    compared = compared_now(serving_dir)
    if compared != decided.compared:
        raise StaleDecision(
            f"the model was compared with {decided.compared}, but since then {serving_dir} was "
            f"changed, and it would be compared with {compared}; run again, which compares the "
            "model with that"
        )


def _is_model(version: Version, digest: str) -> bool:
    """Tells whether a version is valid and holds the model of that digest."""
    return (
        version.manifest is not None
        and version.manifest.model_digest == digest
        and not verify(version)
    )


def _make_serving_dir(serving_dir: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(serving_dir.stat().st_mode):  # a loop of links is an OSError here
            raise ServingDirError(
                f"the serving directory {serving_dir} is a file: choose another path, or remove it"
            )
    make_directory(serving_dir)


def _require_json(release: Mapping[str, object]) -> None:
    try:
        json.dumps(dict(release), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ServingDirError(
            f"the release record is not JSON: {error}; give text, finite numbers, booleans, None, "
            "lists and objects"
        ) from error


def _require_apart(model_dir: Path, serving_dir: Path) -> None:
    # `Path.resolve` raises an error of its own for a loop of links, before Python 3.13.
    model, serving = Path(os.path.realpath(model_dir)), Path(os.path.realpath(serving_dir))
    if model == serving or model in serving.parents:
        raise ServingDirError(
            f"the serving directory {serving_dir} is inside the model {model_dir}: choose another"
        )


def _scan_model(model_dir: Path) -> Tree:
    if not model_dir.is_dir():
        actual = "is a file" if model_dir.exists() else "does not exist"
        raise ServingDirError(f"the model {model_dir} {actual}: give an exported model's directory")
    tree = scan(model_dir)
    if tree.others:
        raise ServingDirError(
            f"the model {model_dir} holds {tree.others[0]!r}, a symbolic link or special file: "
            "only regular files and directories can be published"
        )
    if MANIFEST_NAME in (*tree.files, *tree.directories):
        raise ServingDirError(
            f"the model {model_dir} holds {MANIFEST_NAME!r}, a name kept for the release's own "
            "manifest: rename it, or give a model that was not published yet"
        )
    if not tree.files:
        raise ServingDirError(f"the model {model_dir} holds no file: export the model first")
    return tree
