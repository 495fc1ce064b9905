"""One version: what its manifest says, whether its files are those, and copying them out."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.serving_dir.log import Withdrawal
from components.serving_dir.manifest import MAX_MANIFEST_BYTES, Manifest, Rollback
from components.serving_dir.model_files import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    FileRecord,
    ServingDirError,
    Tree,
    copy_file,
    copy_tree,
    differences,
    explain,
    explained,
    scan,
)
from trainer.host.files import read_regular

# Makes the content of a signature's file of the hex SHA-256 of each file by name.
Sign = Callable[[Mapping[str, str]], bytes]
# Says what is wrong with the signature in a file, or "", given the hex SHA-256 of each signed file.
Trust = Callable[[Path, Mapping[str, str]], str]


@dataclass(frozen=True)
class Version:
    """One integer-named entry of a serving directory.

    Attributes:
        number: the number as TensorFlow Serving reads it.
        manifest: None where there is none that can be read.
        problems: why this is not a valid version; empty says nothing about the files' contents
            unless they were looked at (`verify`, or `versions(..., check_files=True)`).
        withdrawn: set where a manifest withdraws this number or this model, or the log this model.
    """

    number: int
    path: Path
    manifest: Manifest | None
    problems: tuple[str, ...] = ()
    withdrawn: Withdrawal | None = None

    @property
    def model_digest(self) -> str | None:
        return self.manifest.model_digest if self.manifest else None

    @property
    def release(self) -> Mapping[str, Any]:
        """The release record; empty where there is no manifest that can be read."""
        return self.manifest.release if self.manifest else {}

    @property
    def rollback(self) -> Rollback | None:
        return self.manifest.rollback if self.manifest else None

    @property
    def is_signed(self) -> bool:
        """Whether it has a signature, by whatever key: `verify` judges it."""
        return (self.path / SIGNATURE_NAME).exists()


def read_version(path: Path, number: int) -> Version:
    """Returns an entry of a serving directory; what cannot be read of it is among its problems."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return Version(number, path, None, (f"cannot be read: {explain(error)}",))
    if stat.S_ISLNK(mode):
        return Version(number, path, None, ("is a symbolic link, expected a directory",))
    if not stat.S_ISDIR(mode):
        return Version(number, path, None, ("is not a directory",))
    manifest, _, unreadable = _read_manifest(path)
    if manifest is None:
        missing = (f"has no {MANIFEST_NAME}: not published by this tool",)
        return Version(number, path, None, unreadable or missing)
    problems = []
    if path.name != str(number):
        problems.append(f"is named {path.name!r}, expected {str(number)!r}")
    if manifest.version != number:
        problems.append(f"{MANIFEST_NAME} is that of version {manifest.version}")
    return Version(number, path, manifest, tuple(problems))


def verify(version: Version, trust: Trust | None = None) -> tuple[str, ...]:
    """Compares every byte of a version with its manifest; returns what is wrong, if anything.

    With `trust` a version whose signature does not hold is wrong too.
    """
    if version.manifest is None or version.problems:
        return version.problems
    problems = _compare(version.path, version.manifest)
    if problems or trust is None:
        return problems
    manifest, content, unreadable = _read_manifest(version.path)
    if manifest != version.manifest:
        return unreadable or (f"{MANIFEST_NAME} has changed since it was read",)
    problem = trust(version.path / SIGNATURE_NAME, signed_files(version.manifest, content))
    return (problem,) if problem else ()


def signed_files(manifest: Manifest, content: bytes) -> dict[str, str]:
    """Returns the hex SHA-256 of each file that a signature covers, by name.

    `content` is that of the manifest's file.
    """
    digests = {name: record.sha256 for name, record in manifest.all_files.items()}
    return {**digests, MANIFEST_NAME: hashlib.sha256(content).hexdigest()}


def check_manifest(directory: Path) -> tuple[Manifest | None, tuple[str, ...]]:
    """Reads the manifest beside a model's files, wherever they lie, and compares them with it.

    Nothing is wrong where there is no manifest: another tool made the model.
    """
    manifest, _, problems = _read_manifest(directory)
    return manifest, problems if manifest is None else _compare(directory, manifest)


def require_valid(version: Version, trust: Trust | None = None) -> None:
    """Raises a ServingDirError that names what `verify` finds wrong."""
    _refuse(version, verify(version, trust))


def require_signed(version: Version | None, *, signs: bool) -> None:
    """Raises ServingDirError if this version is signed, and one that follows it or holds its model
    again would not be.
    """
    if version is not None and version.is_signed and not signs:
        raise ServingDirError(
            f"version {version.number} in {version.path.parent} is signed, and no key was given to "
            "sign the next one: add --signing-key KEY, or --config FILE with serving.signing_key; "
            f"to go on without signatures, remove its {SIGNATURE_NAME}"
        )


def export_model(version: Version, destination: Path) -> None:
    """Copies a version's model files, without the manifest, to a directory that is created.

    What is copied is checked against the manifest. A ServingDirError leaves nothing behind.
    """
    if os.path.lexists(destination):
        raise ServingDirError(f"cannot copy {version.path} to {destination}: it exists already")
    with explained(f"copy {version.path} to {destination}"):
        try:
            copy_checked(version, destination)
        except (ServingDirError, OSError):
            shutil.rmtree(destination, ignore_errors=True)
            raise


def copy_checked(version: Version, destination: Path, *, documents: bool = False) -> Manifest:
    """Does what `export_model` does, but leaves a partial copy and lets an OSError through.

    With `documents` it copies these too: all files but the manifest.
    """
    _refuse(version, version.problems)
    assert version.manifest is not None  # or there is a problem
    expected = version.manifest.all_files
    present = _model_in(version.path)
    sizes = {name: _sized(present.root / name, expected.get(name)) for name in present.files}
    _refuse(version, differences(sizes, present.others, expected))
    wanted = expected if documents else version.manifest.files
    tree = replace(present, files=tuple(name for name in present.files if name in wanted))
    _refuse(version, differences(copy_tree(tree, destination, wanted), (), wanted))
    return version.manifest


def _read_manifest(path: Path) -> tuple[Manifest | None, bytes, tuple[str, ...]]:
    """Returns the manifest in a directory and its file's content, or why it cannot be read; neither
    if there is none.
    """
    try:
        content = read_regular(path / MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
        return Manifest.from_json(content.decode("ascii")), content, ()
    except FileNotFoundError:
        return None, b"", ()
    except OSError as error:
        return None, b"", (f"cannot be read: {explain(error)}",)
    except ValueError as error:
        return None, b"", (f"{MANIFEST_NAME} is damaged: {error}",)


def _compare(path: Path, manifest: Manifest) -> tuple[str, ...]:
    expected = manifest.all_files
    try:
        model = _model_in(path)
        actual = {name: _hashed(path / name, expected.get(name)) for name in model.files}
    except OSError as error:
        return (f"cannot be read: {explain(error)}",)
    return differences(actual, model.others, expected)


def _model_in(path: Path) -> Tree:
    tree = scan(path)
    ours = (MANIFEST_NAME, SIGNATURE_NAME)
    return replace(tree, files=tuple(name for name in tree.files if name not in ours))


def _hashed(path: Path, expected: FileRecord | None) -> FileRecord:
    """Returns the record of a file; reads it only where its size is the expected one."""
    record = _sized(path, expected)
    return copy_file(path, None, max_bytes=record.bytes) if record == expected else record


def _sized(path: Path, expected: FileRecord | None) -> FileRecord:
    """Returns the expected record where the file has that size, and one of no digest otherwise."""
    size = path.stat().st_size
    return expected if expected and expected.bytes == size else FileRecord("", size)


def _refuse(version: Version, problems: tuple[str, ...]) -> None:
    if problems:
        raise ServingDirError(
            f"version {version.number} at {version.path} is damaged: {'; '.join(problems)}; "
            "restore its files, roll back, or remove it"
        )
