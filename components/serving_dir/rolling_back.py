"""An older version becomes the live one again, and the live one is withdrawn."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from components.serving_dir.changing import locked, staging_in
from components.serving_dir.log import keep_in_log, read_log
from components.serving_dir.manifest import ROLLBACK, Rollback
from components.serving_dir.model_files import ServingDirError, explained
from components.serving_dir.publishing import add_version
from components.serving_dir.reading import find, versions, withdrawals_by
from components.serving_dir.version import (
    Sign,
    Trust,
    Version,
    copy_checked,
    require_signed,
    verify,
)

# By these a run knows a version for the outcome of a run like itself (`release_context`).
# What a rollback made is no run's outcome.
_OF_THE_RUN = frozenset({"run_key", "release_token"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolledBack:
    """What `rollback` did: the new live version holds the files of the one that it restores."""

    version: int
    path: Path
    model_digest: str
    restores: int
    withdraws: int


def rollback(
    serving_dir: Path,
    version: int | None = None,
    *,
    reason: str = "",
    sign: Sign | None = None,
    trust: Trust | None = None,
) -> RolledBack:
    """Publishes an older version's files again as the newest version, and withdraws the live one.

    Both happen with one rename, for the new version's manifest says which one it withdraws. The log
    is told of the withdrawn model as well, in case somebody removes versions without `prune`.

    Args:
        version: the version to restore. None for the newest one below the live one that is valid,
            not withdrawn and of another model; where the live version is damaged, of any model.
            With None the log must be readable.
        sign, trust: as those of `publish`; with `trust` no version is restored whose signature does
            not hold, and without `sign` none that is signed.

    Raises:
        ServingDirError: nothing was changed, and nothing was left behind, also where another
            version became live meanwhile; but for one case, which the message names: the version is
            in place, and the last sync failed.
    """
    seen = find(serving_dir)  # where there is nothing, not even the lock file is made
    again = ", and roll back again; no version was added"
    with explained(f"roll back {serving_dir}", again), locked(serving_dir):
        current = find(serving_dir)
        if current.number != seen.number:  # nobody has asked to withdraw that one
            raise ServingDirError(
                f"version {current.number} became live in {serving_dir} while this command waited, "
                f"expected version {seen.number}: look at it{again}"
            )
        done = _restore(_choose(serving_dir, version, current, trust), current, reason, sign)
        _note(serving_dir, done)
        return done


def default_target(serving_dir: Path, trust: Trust | None) -> Version | None:
    """Returns the version that `rollback` restores when it is not told which, or None.

    Raises ServingDirError where the log cannot be read, since a withdrawal may stand in it alone.
    """
    read_log(serving_dir)
    present = versions(serving_dir)
    good = (version for version in reversed(present) if not _obstacle(version, present[-1], trust))
    return next(good, None)


def _choose(
    serving_dir: Path, number: int | None, current: Version, trust: Trust | None
) -> Version:
    if number is None:
        return _choose_by_default(serving_dir, current, trust)
    target = find(serving_dir, number)
    if obstacle := _obstacle(target, current, trust):
        raise ServingDirError(
            f"cannot roll back to version {number} in {serving_dir}: it {obstacle}; choose another"
        )
    return target


def _choose_by_default(serving_dir: Path, current: Version, trust: Trust | None) -> Version:
    try:
        target = default_target(serving_dir, trust)
    except ServingDirError as error:
        raise ServingDirError(
            f"cannot choose the version to restore in {serving_dir}: {error}; or name the version"
        ) from error
    if target:
        return target
    older = [version for version in versions(serving_dir) if version.number < current.number]
    reasons = "; ".join(
        f"{version.number} {_obstacle(version, current, trust)}" for version in older
    )
    raise ServingDirError(
        f"cannot roll back version {current.number} in {serving_dir}: there is no older good "
        f"version{f' ({reasons})' if reasons else ''}; release a better model instead"
    )


def _obstacle(version: Version, current: Version, trust: Trust | None) -> str:
    if version.number == current.number:
        return "is live already"
    if version.withdrawn:
        return f"is {version.withdrawn}"
    if problems := verify(version, trust):
        return f"is damaged: {'; '.join(problems)}"
    # Damaged files are not the model that they are said to be: restoring that one is a repair.
    if version.model_digest == current.model_digest and not verify(current, trust):
        return f"holds the same model as the live version {current.number}"
    return ""


def _restore(target: Version, current: Version, reason: str, sign: Sign | None) -> RolledBack:
    for version in (target, current):
        require_signed(version, signs=sign is not None)
    with staging_in(target.path.parent) as staging:
        manifest = copy_checked(target, staging, documents=True)
        same_model = manifest.model_digest == current.model_digest
        record = Rollback(
            restores=target.number,
            withdraws=current.number,
            withdrawn_digest=None if same_model else current.model_digest,
            reason=reason,
        )
        release = {key: value for key, value in manifest.release.items() if key not in _OF_THE_RUN}
        release = {**release, ROLLBACK: asdict(record)}
        path = add_version(staging, manifest.files, release, manifest.documents, sign)
    number, digest = int(path.name), manifest.model_digest
    return RolledBack(number, path, digest, restores=target.number, withdraws=current.number)


def _note(serving_dir: Path, done: RolledBack) -> None:
    """Only warns of an error: the rollback is done, and `prune` writes what is missing in time."""
    try:
        keep_in_log(serving_dir, withdrawals_by([find(serving_dir, done.version)]))
    except (OSError, ServingDirError) as error:
        _log.warning("the log of %s does not know the withdrawn model yet: %s", serving_dir, error)
