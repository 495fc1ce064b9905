"""Which versions there are, which is live, and which are withdrawn. Readers need no lock."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.serving_dir.log import (
    Approval,
    Rejection,
    Withdrawal,
    read_log,
    rejected,
    withdrawals_in_log,
)
from components.serving_dir.manifest import APPROVAL
from components.serving_dir.model_files import (
    MANIFEST_NAME,
    NoServingDir,
    ServingDirError,
    explained,
)
from components.serving_dir.version import Trust, Version, read_version, verify
from trainer.host.strict_json import INT64_MAX

_INTEGER_NAME = re.compile(r"\s*\+?[0-9]+\s*", re.ASCII)

_log = logging.getLogger(__name__)


def versions(
    serving_dir: Path, *, check_files: bool = False, trust: Trust | None = None
) -> list[Version]:
    """Returns every integer-named entry, by rising number; none where the directory is missing.

    With `check_files` the problems of an entry include those of its files and, with `trust`, of its
    signature, see `verify`.
    """
    found = [*_newest_first(serving_dir)][::-1]
    made = withdrawals_by(found)
    # After the versions: what is not found there any more was written to the log before it went.
    models = {one.model_digest: one for one in _known_withdrawals(serving_dir)}
    found = [
        replace(v, withdrawn=_withdrawal_of(v, made) or models.get(v.model_digest)) for v in found
    ]
    if check_files:
        checked = [replace(version, problems=verify(version, trust)) for version in found]
        found = [version for version in checked if not version.problems or _is_there(version)]
    return found


def live(serving_dir: Path) -> Version | None:
    """Returns the highest entry, which TensorFlow Serving serves, valid or not; ignores the log."""
    return next(_newest_first(serving_dir), None)


def find(serving_dir: Path, number: int | None = None) -> Version:
    """Returns the version of that number, or the live one; raises ServingDirError without one."""
    newest = live(serving_dir)
    if newest is None:
        raise ServingDirError(
            f"there is no version in {serving_dir}: release a model, or give the directory of one "
            "that was released"
        )
    if number is None:
        return newest
    present = versions(serving_dir)
    for version in reversed(present):
        if version.number == number:
            return version
    known = ", ".join(str(version.number) for version in present)
    raise ServingDirError(f"there is no version {number} in {serving_dir}: known are {known}")


def newest_valid(serving_dir: Path, trust: Trust | None = None) -> Version | None:
    """Returns the highest version that is valid and not withdrawn, or None; reads all its files.

    A higher entry that is not valid is logged: TensorFlow Serving may stumble over it.
    """
    for version in reversed(versions(serving_dir)):
        if version.withdrawn:
            continue
        problems = verify(version, trust)
        if not problems:
            return version
        _log.warning("%s is not a valid version: %s", version.path, "; ".join(problems))
    return None


def _newest_first(serving_dir: Path) -> Iterator[Version]:
    """Reads the entries that were not pruned since they were listed, the highest first.

    Pruning takes a withdrawn version before the one that withdrew it, so whoever still finds the
    former has read the latter already.
    """
    for number, name in reversed(_numbered(serving_dir)):
        version = read_version(serving_dir / name, number)
        if version.manifest or _is_there(version):
            yield version


def require_no_version(directory: str | os.PathLike[str]) -> None:
    """Refuses the directory of a version: a model that is published there would damage it."""
    path = Path(os.path.abspath(directory))
    if os.path.isfile(path / MANIFEST_NAME):
        raise NoServingDir(
            f"the serving directory {path} is version {path.name} itself: give {path.parent}"
        )


def names_in(serving_dir: Path) -> list[str]:
    """Returns the names of all entries; none where the directory is missing."""
    with (
        explained(f"read the serving directory {serving_dir}"),
        contextlib.suppress(FileNotFoundError),
    ):
        return os.listdir(serving_dir)
    return []


def _numbered(serving_dir: Path) -> list[tuple[int, str]]:
    names = names_in(serving_dir)
    numbered = [(number, name) for name in names if (number := _number(name)) is not None]
    # The canonical name comes last among equals: TensorFlow Serving, too, takes "7" before "007".
    return sorted(numbered, key=lambda pair: (pair[0], pair[1] == str(pair[0]), pair[1]))


def _number(name: str) -> int | None:
    """Returns the number that TensorFlow Serving reads in a name, if it is one from 0 to int64."""
    if not _INTEGER_NAME.fullmatch(name):
        return None
    number = int(name)
    return number if number <= INT64_MAX else None


def _is_there(version: Version) -> bool:
    """Tells whether an entry exists; what the system refuses to say of it counts as there."""
    try:
        version.path.lstat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return True


def withdrawn_digests(serving_dir: Path) -> Mapping[str, Withdrawal | Rejection]:
    """Returns the models that are not to be released, by digest, be they pruned or not.

    Those were withdrawn by a rollback, or rejected before they were released.
    """
    made = withdrawals_by(versions(serving_dir))
    rejections = rejected(serving_dir).values()
    found: list[Withdrawal | Rejection] = [*rejections, *withdrawals_in_log(serving_dir), *made]
    return {one.model_digest: one for one in found if one.model_digest is not None}


def approved(serving_dir: Path) -> dict[str, Approval]:
    """Returns what a person approved, by the run that was held; raises as `decided_runs`."""
    present = approvals_in(versions(serving_dir))
    # Read after the versions: `prune` writes to the log before it removes one.
    logged = [one for one in read_log(serving_dir) if isinstance(one, Approval)]
    return {one.run_id: one for one in reversed([*logged, *present])}


def approvals_in(present: Sequence[Version]) -> list[Approval]:
    """Returns what the manifests of versions say of approvals, oldest first."""
    return [
        Approval(given["run_id"], version.number, *(given[name] for name in ("by", "reason", "at")))
        for version in present
        if (given := version.release.get(APPROVAL))
    ]


def decided_runs(serving_dir: Path) -> set[str]:
    """Returns the runs whose held models a person approved or rejected; the log must be readable.

    A kill may have come before such a model was removed.
    """
    return rejected(serving_dir).keys() | approved(serving_dir).keys()


def withdrawals_by(present: Sequence[Version]) -> list[Withdrawal]:
    """Returns what the manifests of versions withdraw, oldest first."""
    return [
        Withdrawal(
            version=rollback.withdraws,
            model_digest=rollback.withdrawn_digest,
            by=version.number,
            reason=rollback.reason,
            at=version.manifest.published_at,
        )
        for version in present
        if version.manifest and (rollback := version.manifest.rollback)
    ]


def _withdrawal_of(version: Version, withdrawals: Sequence[Withdrawal]) -> Withdrawal | None:
    digest = version.model_digest
    for withdrawal in reversed(withdrawals):
        same_model = digest is not None and digest == withdrawal.model_digest
        if same_model or version.number == withdrawal.version:
            return withdrawal
    return None


def _known_withdrawals(serving_dir: Path) -> list[Withdrawal]:
    """Reads the log; if it is damaged, warns, so that the versions can be shown all the same."""
    try:
        return withdrawals_in_log(serving_dir)
    except ServingDirError as error:
        _log.warning("%s", error)
        return []
