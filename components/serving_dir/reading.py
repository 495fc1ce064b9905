"""Which versions there are, and whether they are what was published. Readers need no lock."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.serving_dir.durable import copy_file, copy_tree, scan
from components.serving_dir.errors import ServingDirError, explain
from components.serving_dir.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileRecord,
    Manifest,
    differences,
)
from components.serving_dir.strict_json import INT64_MAX
from components.serving_dir.withdrawals import Withdrawal, kept
from trainer.files import read_regular

_INTEGER_NAME = re.compile(r"\s*\+?[0-9]+\s*", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """One integer-named entry of a serving directory.

    Attributes:
        number: the number as TensorFlow Serving reads it.
        path: the entry itself.
        manifest: None where there is none that can be read.
        problems: why this is not a valid version; empty says nothing about the files' contents
            unless they were looked at (`verify`, or `versions(..., check_files=True)`).
        withdrawn: set where a manifest of the directory withdraws this number or this model, or
            the log this model.
    """

    number: int
    path: Path
    manifest: Manifest | None
    problems: tuple[str, ...] = ()
    withdrawn: Withdrawal | None = None

    @property
    def model_digest(self) -> str | None:
        """The digest of the model that the manifest names; None without a manifest."""
        return self.manifest.model_digest if self.manifest else None


def versions(serving_dir: Path, *, check_files: bool = False) -> list[Version]:
    """Returns every integer-named entry, by rising number; none where the directory is missing.

    Args:
        serving_dir: the directory that TensorFlow Serving watches.
        check_files: also hash the files and compare them with the manifest (see `verify`).

    Raises:
        ServingDirError: the directory cannot be read.
    """
    try:
        names = os.listdir(serving_dir)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ServingDirError(
            f"cannot read the serving directory {serving_dir}: {explain(error)}"
        ) from error
    numbered = [(number, name) for name in names if (number := _number(name)) is not None]
    # The canonical name comes last among equals: TensorFlow Serving, too, takes "7" before "007".
    numbered.sort(key=lambda pair: (pair[0], pair[1] == str(pair[0]), pair[1]))
    found = _read_present(Path(serving_dir), numbered)
    made = made_by(found)
    # After the versions: what is not found there any more was written to the log before it went.
    models = {one.model_digest: one for one in _kept(Path(serving_dir))}
    found = [
        replace(v, withdrawn=_withdrawal_of(v, made) or models.get(v.model_digest)) for v in found
    ]
    if check_files:
        checked = [replace(version, problems=verify(version)) for version in found]
        found = [version for version in checked if not version.problems or _is_there(version)]
    return found


def live(serving_dir: Path) -> Version | None:
    """Returns the highest entry, which is what TensorFlow Serving serves, be it valid or not."""
    present = versions(serving_dir)
    return present[-1] if present else None


def find(serving_dir: Path, number: int | None = None) -> Version:
    """Returns the version of that number, or the live one.

    Raises:
        ServingDirError: there is none, or the directory cannot be read.
    """
    present = versions(serving_dir)
    if not present:
        raise ServingDirError(
            f"there is no version in {serving_dir}: release a model, or give the directory of one "
            "that was released"
        )
    for version in reversed(present):
        if number is None or version.number == number:
            return version
    known = ", ".join(str(version.number) for version in present)
    raise ServingDirError(f"there is no version {number} in {serving_dir}: known are {known}")


def withdrawn_digests(serving_dir: Path) -> Mapping[str, Withdrawal]:
    """Returns the models that are not to be served again, by their digests.

    A model stays among them for good, whether or not its versions are pruned.

    Raises:
        ServingDirError: the directory or the log in it cannot be read.
    """
    made = made_by(versions(serving_dir))
    withdrawals = [*kept(Path(serving_dir)), *made]
    return {found.model_digest: found for found in withdrawals if found.model_digest is not None}


def verify(version: Version) -> tuple[str, ...]:
    """Compares a version's files with its manifest; returns what is wrong, nothing if it is valid.

    Reads every byte of the version. Names of files are shown as Python literals.
    """
    if version.manifest is None or version.problems:
        return version.problems
    return _compare(version.path, version.manifest)


def check_manifest(directory: Path) -> tuple[Manifest | None, tuple[str, ...]]:
    """Reads the manifest beside a model's files, wherever they lie, and compares them with it.

    Returns:
        The manifest, or None where none can be read; and what is wrong. Nothing is wrong where
        there is no manifest: another tool made the model.
    """
    manifest, problems = _read_manifest(directory)
    return manifest, problems if manifest is None else _compare(directory, manifest)


def require_valid(version: Version) -> None:
    """Reads every byte of a version, see `verify`.

    Raises:
        ServingDirError: its files do not match its manifest; the line names them.
    """
    if problems := verify(version):
        raise ServingDirError(_invalid(version, problems))


def newest_valid(serving_dir: Path) -> Version | None:
    """Returns the highest version that is valid and not withdrawn, or None; reads all its files.

    That is the live version unless something is wrong. Logs a warning for each higher entry that is
    not valid: TensorFlow Serving may stumble over it until the next publish.
    """
    for version in reversed(versions(serving_dir)):
        if version.withdrawn:
            continue
        problems = verify(version)
        if not problems:
            return version
        _log.warning("%s is not a valid version: %s", version.path, "; ".join(problems))
    return None


def export_model(version: Version, destination: Path) -> None:
    """Copies a version's model files, without the manifest, to a directory that is created.

    What is copied is what is checked against the manifest: each file is hashed on its way.

    Raises:
        ServingDirError: the version is not valid, `destination` exists already, or the copy
            failed; nothing is left of it then.
    """
    if os.path.lexists(destination):
        raise ServingDirError(f"cannot copy {version.path} to {destination}: it exists already")
    try:
        copy_checked(version, destination)
    except ServingDirError:
        shutil.rmtree(destination, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise ServingDirError(
            f"cannot copy {version.path} to {destination}: {explain(error)}"
        ) from error


def copy_checked(version: Version, destination: Path) -> Manifest:
    """As `export_model`, but leaves what it has copied when it fails, and returns the manifest.

    Raises:
        ServingDirError: the version is not valid.
        OSError: the copy failed.
    """
    if version.manifest is None or version.problems:
        raise ServingDirError(_invalid(version, version.problems))
    tree = scan(version.path)
    model = replace(tree, files=tuple(name for name in tree.files if name != MANIFEST_NAME))
    expected = version.manifest.files
    sizes = {name: _sized(model.root / name, expected.get(name)) for name in model.files}
    problems = differences(sizes, tree.others, expected)
    if not problems:
        problems = differences(copy_tree(model, destination, expected), (), expected)
    if problems:
        raise ServingDirError(_invalid(version, problems))
    return version.manifest


def _number(name: str) -> int | None:
    """Returns the number that TensorFlow Serving reads in a name, if it is one from 0 to int64."""
    if not _INTEGER_NAME.fullmatch(name):
        return None
    digits = name.strip().lstrip("+").lstrip("0")
    if len(digits) > len(str(INT64_MAX)):  # Python refuses to convert very many digits
        return None
    number = int(digits or "0")
    return number if number <= INT64_MAX else None


def _read_version(path: Path, number: int) -> Version:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return Version(number, path, None, (f"cannot be read: {explain(error)}",))
    if stat.S_ISLNK(mode):
        return Version(number, path, None, ("is a symbolic link, expected a directory",))
    if not stat.S_ISDIR(mode):
        return Version(number, path, None, ("is not a directory",))
    manifest, unreadable = _read_manifest(path)
    if manifest is None:
        missing = (f"has no {MANIFEST_NAME}: not published by this tool",)
        return Version(number, path, None, unreadable or missing)
    problems = []
    if path.name != str(number):
        problems.append(f"is named {path.name!r}, expected {str(number)!r}")
    if manifest.version != number:
        problems.append(f"{MANIFEST_NAME} is that of version {manifest.version}")
    return Version(number, path, manifest, tuple(problems))


def _read_manifest(path: Path) -> tuple[Manifest | None, tuple[str, ...]]:
    """Returns the manifest in a directory, or why it cannot be read; neither if there is none."""
    try:
        content = read_regular(path / MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
        return Manifest.from_json(content.decode("ascii")), ()
    except FileNotFoundError:
        return None, ()
    except OSError as error:
        return None, (f"cannot be read: {explain(error)}",)
    except ValueError as error:
        return None, (f"{MANIFEST_NAME} is damaged: {error}",)


def _compare(path: Path, manifest: Manifest) -> tuple[str, ...]:
    """Returns what is wrong with the files in a directory against their manifest."""
    try:
        tree = scan(path)
        actual = {
            name: _hashed(tree.root / name, manifest.files.get(name))
            for name in tree.files
            if name != MANIFEST_NAME
        }
    except OSError as error:
        return (f"cannot be read: {explain(error)}",)
    return differences(actual, tree.others, manifest.files)


def _hashed(path: Path, expected: FileRecord | None) -> FileRecord:
    """Returns the record of a file; reads it only where its size is the expected one."""
    record = _sized(path, expected)
    return copy_file(path, None, max_bytes=record.bytes) if record == expected else record


def _sized(path: Path, expected: FileRecord | None) -> FileRecord:
    """Returns the expected record where the file has that size, and one of no digest otherwise."""
    size = path.stat().st_size
    return expected if expected and expected.bytes == size else FileRecord("", size)


def _read_present(serving_dir: Path, numbered: list[tuple[int, str]]) -> list[Version]:
    """Reads the entries of a sorted listing, but for those that were pruned since.

    The highest first: pruning takes a withdrawn version before the one that withdrew it, so that
    whoever still finds the former has read the latter already.
    """
    found = [_read_version(serving_dir / name, number) for number, name in reversed(numbered)]
    return [version for version in reversed(found) if version.manifest or _is_there(version)]


def _is_there(version: Version) -> bool:
    """Tells whether an entry exists; what the system refuses to say of it counts as there."""
    try:
        version.path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _kept(serving_dir: Path) -> list[Withdrawal]:
    """What the log says; a damaged log keeps nobody from looking at the versions."""
    try:
        return kept(serving_dir)
    except ServingDirError as error:
        _log.warning("%s", error)
        return []


def made_by(present: Sequence[Version]) -> list[Withdrawal]:
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
    """Returns the newest withdrawal of a version's number or of its model."""
    digest = version.model_digest
    for withdrawal in reversed(withdrawals):
        same_model = digest is not None and digest == withdrawal.model_digest
        if same_model or version.number == withdrawal.version:
            return withdrawal
    return None


def _invalid(version: Version, problems: tuple[str, ...]) -> str:
    return (
        f"version {version.number} at {version.path} does not match its manifest: "
        f"{'; '.join(problems)}; restore its files, roll back, or remove it"
    )
