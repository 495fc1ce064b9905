"""Old versions go; what may be needed, and what another tool made, stays."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.serving_dir.changing import REMOVED_PREFIX, delete, locked
from components.serving_dir.log import keep_in_log
from components.serving_dir.model_files import explained, scan
from components.serving_dir.reading import approvals_in, versions, withdrawals_by
from components.serving_dir.rolling_back import default_target
from components.serving_dir.version import Trust, Version
from trainer.host.files import sync_directory


@dataclass(frozen=True)
class Removed:
    """A version that was removed, or would be: its number, where it was, and its size in bytes."""

    version: int
    path: Path
    bytes: int


@dataclass(frozen=True)
class Pruned:
    """What `prune` did, or would do; `left_alone` are entries that this package did not publish."""

    removed: tuple[Removed, ...]
    left_alone: tuple[Version, ...]

    @property
    def bytes(self) -> int:
        return sum(removed.bytes for removed in self.removed)


def prune(
    serving_dir: Path, keep: int, *, dry_run: bool = False, trust: Trust | None = None
) -> Pruned:
    """Removes the versions below the newest `keep` that nothing needs any more.

    The live version stays, and so does the one that `rollback` would restore, and a version that
    withdrew another one as long as that one or a copy of its model is there. What this package did
    not publish is neither counted nor removed. A dry run takes no lock and writes nothing.
    `trust` is that of `rollback`.

    A version whose files cannot be deleted, as on NFS while a process has one open, is gone all the
    same; a warning says so, and the next change deletes them.

    Raises:
        ServingDirError: the log cannot be read, or a version cannot be removed; all that is there
            is complete nevertheless.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, expected 1 or more: the live version always stays")
    if not versions(serving_dir):
        return Pruned((), ())
    lock = contextlib.nullcontext() if dry_run else locked(serving_dir)
    with explained(f"prune {serving_dir}", ", and prune again"), lock:
        present = versions(serving_dir)
        going = _removable(present, keep, default_target(serving_dir, trust))
        removed = [Removed(old.number, old.path, _size(old.path)) for old in going]
        if not dry_run:
            # Before the first of them goes: a kill in between costs nothing but a line.
            keep_in_log(serving_dir, [*withdrawals_by(going), *approvals_in(going)])
            for old in going:
                _remove(old)
    return Pruned(tuple(removed), tuple(old for old in present if old.problems))


def _removable(present: Sequence[Version], keep: int, target: Version | None) -> list[Version]:
    """Returns what may go, in the order in which it may; `present` is by rising number.

    No withdrawn version loses its mark, even when a kill ends the removal early. One that stays
    keeps it, because the loop keeps the version that holds the mark. One that goes has it to the
    end: a mark on a model is in the log, and one on a number is held by a higher version, which
    goes later.
    """
    ours = [version for version in present if not version.problems]
    others = [version for version in present if version.problems]
    needed = [*others, *ours[-keep:], *([target] if target else [])]
    staying = {version.number for version in needed}
    while (
        holders := {old.withdrawn.by for old in present if old.withdrawn and old.number in staying}
        - staying
    ):
        staying |= holders
    return [version for version in ours if version.number not in staying]


def _size(path: Path) -> int:
    return sum((path / name).stat().st_size for name in scan(path).files)


def _remove(version: Version) -> None:
    hidden = version.path.with_name(f"{REMOVED_PREFIX}{version.number}-{secrets.token_hex(8)}")
    os.rename(version.path, hidden)
    # On disk before the first file goes: a power cut must not give the name back without them.
    sync_directory(version.path.parent)
    delete(hidden)
