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

import logging
from collections.abc import Mapping
from pathlib import Path

from components.serving_dir.baseline import Decided
from components.serving_dir.changing import (
    PENDING_PREFIX,
    appear,
    locked,
    make_serving_dir,
    remove,
    staging_in,
)
from components.serving_dir.log import Approval, Rejection, keep_in_log, rejected, utc_now
from components.serving_dir.manifest import APPROVAL, Manifest
from components.serving_dir.model_files import (
    ServingDirError,
    copy_tree,
    digest_of_records,
    explain,
    explained,
    scan_model,
)
from components.serving_dir.pending_record import NAME, RECORD, Pending, read
from components.serving_dir.publishing import (
    Published,
    already_live,
    publish,
    readable,
    require_apart,
    require_same_comparison,
    require_serveable,
)
from components.serving_dir.reading import (
    approved,
    decided_runs,
    live,
    names_in,
)
from components.serving_dir.version import Sign, Trust
from trainer.host.files import let_read
from trainer.host.text import quoted

_MODEL = "model"

_log = logging.getLogger(__name__)


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
    if not NAME.fullmatch(run_id):
        raise ServingDirError(f"the run is named {quoted(run_id)}, expected letters and digits")
    with explained(f"hold {model_dir} in {serving_dir}", ", and run again; nothing was held"):
        model = scan_model(model_dir)
        require_apart(model_dir, serving_dir)
        make_serving_dir(serving_dir)
        with locked(serving_dir), staging_in(serving_dir) as staging:
            staging.mkdir()
            let_read(staging)
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
                held.write(staging, sign)
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
            found.append(read(serving_dir / name))
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
    trust_held: Trust | None = None,
) -> Published:
    """Publishes a held model, as `publish` does, if nothing has changed since the decision.

    Args:
        trust_held: checks the signature of what waits, where another than `trust` does.

    Raises:
        StaleDecision: the served version, or the held model, was changed since; nothing was
            published.
        ServingDirError: there is no such model, it was rejected, it is to be signed and `sign` is
            None, or its signature does not hold; or as `publish` says.
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
    held = find_pending(serving_dir, run_id)
    if held.signed and sign is None:
        raise ServingDirError(
            f"the run {run_id} signs what it releases, and no key was given: add "
            "--signing-key KEY, or --config FILE with serving.signing_key"
        )
    if problem := held.distrusted(trust_held or trust):
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
        find_pending(serving_dir, run_id)  # says so if somebody else decided meanwhile
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
            find_pending(serving_dir, approval.run_id)  # says so if somebody rejected it meanwhile
            keep_in_log(serving_dir, [approval])


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
    find_pending(serving_dir, run_id)  # where there is nothing, not even the lock file is made
    with (
        explained(f"reject {run_id} in {serving_dir}", ", and reject it again"),
        locked(serving_dir),
    ):
        held = find_pending(serving_dir, run_id)  # it may have been approved meanwhile
        digest = held.decided.model_digest
        now = live(serving_dir)
        if now and now.model_digest == digest:
            raise ServingDirError(
                f"version {now.number}, which is live, holds the model of {run_id}: approve it, or "
                "take that version back with `tfx-mnist rollback` first; nothing was rejected"
            )
        rejection = Rejection(run_id, digest, by, reason, utc_now())
        keep_in_log(serving_dir, [rejection])
    _clean_up(serving_dir)
    return rejection


def find_pending(serving_dir: Path, run_id: str) -> Pending:
    """Returns what the run holds; a ServingDirError says why nothing of it waits."""
    path = serving_dir / f"{PENDING_PREFIX}{run_id}"
    why = f"no run {quoted(run_id)} waits in {serving_dir}"
    if done := approved(serving_dir).get(run_id):
        why = f"the run {run_id} was approved already, as version {done.version}"
    elif rejection := rejected(serving_dir).get(run_id):
        why = f"the run {run_id} was {rejection}"
    elif NAME.fullmatch(run_id) and (path / RECORD).exists():
        return read(path)
    known = ", ".join(one.run_id for one in pending(serving_dir)) or "none"
    raise ServingDirError(f"{why}; waiting: {known}")


def _clean_up(serving_dir: Path) -> None:
    """Removes what is decided, as any change does; after a kill or an error, the next one does."""
    try:
        with locked(serving_dir):
            pass
    except OSError as error:
        _log.warning("what is decided in %s stays: %s", serving_dir, explain(error))
