"""Models that passed every gate and wait for a person, who approves or rejects them.

Synopsis::

    held = hold(Path("model"), Path("serving"), {"run_id": "r"}, run_id="r", decided=decided)
    approve(Path("serving"), "r", by="Ann", reason="looked at the errors").version
    reject(Path("serving"), "r", by="Ann", reason="confuses 4 and 9")

A held model lies in the hidden directory `.pending-RUN` beside the versions, where no server looks.
It appears there and disappears by one rename each. To approve is to publish what was decided: the
comparison and the model's digest are held against the directory as they are for any release.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.serving_dir.baseline import Baseline, Comparison, Decided, compared_now
from components.serving_dir.log import Approval, Rejection, keep, rejected, utc_now
from components.serving_dir.manifest import APPROVAL, MAX_MANIFEST_BYTES, Manifest
from components.serving_dir.model_files import (
    SIGNATURE_NAME,
    ServingDirError,
    copy_tree,
    digest_of_records,
    explain,
    explained,
    scan_model,
)
from components.serving_dir.publishing import (
    PENDING_PREFIX,
    Published,
    Sign,
    already_live,
    appear,
    locked,
    make_serving_dir,
    publish,
    readable,
    remove,
    require_apart,
    require_same_comparison,
    require_serveable,
    staging_in,
)
from components.serving_dir.reading import (
    approved,
    decided_runs,
    live,
    names_in,
    withdrawn_digests,
)
from components.serving_dir.version import Trust
from trainer.host import strict_json
from trainer.host.files import read_regular, write_durably
from trainer.host.text import quoted

_RECORD, _MODEL = "pending.json", "model"
_MAX_RECORD_BYTES = 4 * MAX_MANIFEST_BYTES  # it holds the documents too
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of a run, or a document's file

_log = logging.getLogger(__name__)


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


def hold(
    model_dir: Path,
    serving_dir: Path,
    release: Mapping[str, object],
    *,
    run_id: str,
    decided: Decided,
    documents: Mapping[str, str] | None = None,
    sign: Sign | None = None,
    trust: Trust | None = None,
) -> Pending | Published:
    """Keeps a copy of a model, and what `publish` would be given, for `approve`.

    With `sign` what waits is signed, and `approve` has to sign the version.

    A model that another run holds for the same comparison is not held again, and one that is live
    already is not held: its version is returned. One that waits for an older comparison, and cannot
    be approved any more, gives way.

    Raises:
        StaleDecision: the decision does not hold any more.
        ServingDirError: nothing was held, and nothing was left behind; but for one case, which the
            message names: the model waits, and the last sync failed.
    """
    if not _NAME.fullmatch(run_id):
        raise ServingDirError(f"the run is named {quoted(run_id)}, expected letters and digits")
    with explained(f"hold {model_dir} in {serving_dir}", ", and run again; nothing was held"):
        model = scan_model(model_dir)
        require_apart(model_dir, serving_dir)
        make_serving_dir(serving_dir)
        with locked(serving_dir), staging_in(serving_dir) as staging:
            staging.mkdir()
            files = copy_tree(model, staging / _MODEL)
            digest = digest_of_records(files)
            require_serveable(model_dir, digest, serving_dir, decided)
            signed = sign is not None
            if published := already_live(serving_dir, digest, trust, signed=signed):
                return published
            require_same_comparison(serving_dir, decided, trust)
            same = [one for one in pending(serving_dir) if one.decided.model_digest == digest]
            alike = [
                one
                for one in same
                if (one.decided, one.signed) == (decided, signed) and not one.distrusted(trust)
            ]
            if alike:
                held = alike[0]
            else:
                readable(Manifest(1, utc_now(), digest, files, release))  # as `approve` writes it
                target = serving_dir / f"{PENDING_PREFIX}{run_id}"
                held = Pending(
                    run_id, utc_now(), decided, dict(release), dict(documents or {}), signed, target
                )
                write_durably(staging / _RECORD, _to_json(held))
                if sign is not None:
                    write_durably(staging / SIGNATURE_NAME, sign(_signed_part(held)))
                appear(staging, target, f"the model of {run_id} waits in {target}")
            for one in same:  # a kill may have come before, so that it still waits beside `alike`
                # What was compared without a key may still be approved without it.
                if one.decided != decided and not one.still_holds(serving_dir):
                    remove(one.path)
            return held


def pending(serving_dir: Path) -> list[Pending]:
    """Returns the models that wait, oldest first; a damaged record is logged and left out."""
    names = [name for name in names_in(serving_dir) if name.startswith(PENDING_PREFIX)]
    if not names:
        return []
    over = decided_runs(serving_dir)
    found = []
    for name in names:
        if name.removeprefix(PENDING_PREFIX) in over:  # a kill came before it was removed
            continue
        try:
            found.append(_read(serving_dir / name))
        except ServingDirError as error:
            _log.warning("%s", error)
    return sorted(found, key=lambda one: (one.held_at, one.run_id))


def approve(
    serving_dir: Path,
    run_id: str,
    *,
    by: str,
    reason: str,
    sign: Sign | None = None,
    trust: Trust | None = None,
) -> Published:
    """Publishes a held model, as `publish` does, if nothing has changed since the decision.

    Raises:
        StaleDecision: the served version, or the held model, was changed since; nothing was
            published.
        ServingDirError: there is no such model, it was rejected, it is to be signed and `sign` is
            None, or `trust` finds that it was not signed; or as `publish` says.
    """
    if done := approved(serving_dir).get(run_id):  # by a command that was killed then
        _clean_up(serving_dir)
        now = live(serving_dir)
        if now is None or now.number != done.version:
            raise ServingDirError(
                f"the run {run_id} was approved already, as version {done.version}, which is not "
                "live any more: run again"
            )
        return Published(now.number, now.path, False, now.model_digest or "")
    held = _find(serving_dir, run_id)
    if held.signed and sign is None:
        raise ServingDirError(
            f"the run {run_id} signs what it releases, and no key was given: add "
            "--signing-key KEY, or --config FILE with serving.signing_key"
        )
    if problem := held.distrusted(trust):
        raise ServingDirError(
            f"what waits in {held.path} may have been exchanged ({problem}): remove it, and run "
            "again with both keys"
        )
    approval = {"run_id": run_id, "held_at": held.held_at, "at": utc_now()}
    record = {**held.release, APPROVAL: {**approval, "by": by, "reason": reason}}
    try:
        published = publish(
            held.path / _MODEL,
            serving_dir,
            record,
            decided=held.decided,
            documents=held.documents,
            sign=sign,
            trust=trust,
        )
    except ServingDirError:
        _find(serving_dir, run_id)  # says so if somebody else decided meanwhile
        raise
    if not published.created:  # another run has released this very model
        _keep_approval(serving_dir, Approval(run_id, published.version, by, reason, utc_now()))
    _clean_up(serving_dir)
    return published


def _keep_approval(serving_dir: Path, approval: Approval) -> None:
    with (
        explained(f"approve {approval.run_id} in {serving_dir}", ", and approve it again"),
        locked(serving_dir),
    ):
        if approval.run_id not in approved(serving_dir):
            _find(serving_dir, approval.run_id)  # says so if somebody rejected it meanwhile
            keep(serving_dir, [approval])


def reject(serving_dir: Path, run_id: str, *, by: str, reason: str) -> Rejection:
    """Writes to the log that a held model is not to be released, and removes it.

    This very model is refused from then on, whichever run makes it again. What was rejected already
    stays rejected as it was: who tries again after a kill finds it done.

    Raises:
        ServingDirError: there is no such model, it is live, or the log cannot be written.
    """
    if done := rejected(serving_dir).get(run_id):
        _clean_up(serving_dir)
        return done
    _find(serving_dir, run_id)  # where there is nothing, not even the lock file is made
    with (
        explained(f"reject {run_id} in {serving_dir}", ", and reject it again"),
        locked(serving_dir),
    ):
        held = _find(serving_dir, run_id)  # it may have been approved meanwhile
        digest = held.decided.model_digest
        now = live(serving_dir)
        if now and now.model_digest == digest:
            raise ServingDirError(
                f"version {now.number}, which is live, holds the model of {run_id}: approve it, or "
                "take that version back with `tfx-mnist rollback` first; nothing was rejected"
            )
        rejection = Rejection(run_id, digest, by, reason, utc_now())
        keep(serving_dir, [rejection])
    _clean_up(serving_dir)
    return rejection


def _find(serving_dir: Path, run_id: str) -> Pending:
    present = pending(serving_dir)
    for one in present:
        if one.run_id == run_id:
            return one
    why = f"no run {quoted(run_id)} waits in {serving_dir}"
    if done := approved(serving_dir).get(run_id):
        why = f"the run {run_id} was approved already, as version {done.version}"
    if rejection := rejected(serving_dir).get(run_id):
        why = f"the run {run_id} was {rejection}"
    damaged = serving_dir / f"{PENDING_PREFIX}{run_id}"
    if _NAME.fullmatch(run_id) and (damaged / _RECORD).exists():
        _read(damaged)  # raises what is wrong with it
    known = ", ".join(one.run_id for one in present) or "none"
    raise ServingDirError(f"{why}; waiting: {known}")


def _clean_up(serving_dir: Path) -> None:
    """Removes what is decided, as any change does; after a kill or an error, the next one does."""
    try:
        with locked(serving_dir):
            pass
    except OSError as error:
        _log.warning("what is decided in %s stays: %s", serving_dir, explain(error))


def _to_json(held: Pending) -> str:
    content = _content(held)
    text = json.dumps({**content, "sha256": _digest(content)}, indent=2, allow_nan=False) + "\n"
    if len(text) > _MAX_RECORD_BYTES:
        raise ServingDirError(
            f"the release record and its documents have {len(text):,} bytes, expected at most "
            f"{_MAX_RECORD_BYTES:,}: release this model without --hold"
        )
    return text


def _content(held: Pending) -> dict[str, Any]:
    content = asdict(held)
    del content["path"]
    return content


def _signed_part(held: Pending) -> dict[str, str]:
    return {_RECORD: _digest(_content(held))}


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def _read(path: Path) -> Pending:
    record = path / _RECORD
    with explained(f"read what waits in {path}"):
        text = read_regular(record, max_bytes=_MAX_RECORD_BYTES)
    try:
        content = strict_json.loads(text.decode("ascii"))
        digest = content.pop("sha256")
        if digest != _digest(content):
            raise ValueError("its sha256 is not that of its content")
        held = _held(content, path)
        if path.name != f"{PENDING_PREFIX}{held.run_id}":
            raise ValueError(f"it is that of the run {held.run_id}")
        return held
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServingDirError(
            f"{record} is damaged ({error}): remove {path}, and run again"
        ) from error


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
        } if all(_NAME.fullmatch(name) and isinstance(documents[name], str) for name in documents):
            compared = Comparison(baseline and Baseline(**baseline), damage)
            decided = Decided(digest, compared)
            return Pending(run_id, held_at, decided, release, documents, signed, path)
    raise ValueError("it is no record of a model that waits")
