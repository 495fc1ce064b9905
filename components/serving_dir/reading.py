"""Which versions there are, and whether they are what was published. Readers need no lock."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from components.serving_dir.durable import copy_file, copy_tree, scan
from components.serving_dir.errors import ServingDirError, explain
from components.serving_dir.manifest import MANIFEST_NAME, Manifest, differences

INT64_MAX = 2**63 - 1

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
    """

    number: int
    path: Path
    manifest: Manifest | None
    problems: tuple[str, ...] = ()


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
    found = [_read_version(Path(serving_dir) / name, number) for number, name in numbered]
    if check_files:
        found = [replace(version, problems=verify(version)) for version in found]
    return found


def verify(version: Version) -> tuple[str, ...]:
    """Compares a version's files with its manifest; returns what is wrong, nothing if it is valid.

    Reads every byte of the version. Names of files are shown as Python literals.
    """
    if version.manifest is None or version.problems:
        return version.problems
    try:
        tree = scan(version.path)
        actual = {
            name: copy_file(tree.root / name, None) for name in tree.files if name != MANIFEST_NAME
        }
    except OSError as error:
        return (f"cannot be read: {explain(error)}",)
    return differences(actual, tree.others, version.manifest.files)


def newest_valid(serving_dir: Path) -> Version | None:
    """Returns the live version, which is the highest valid one, or None. Reads its files in full.

    Logs a warning for each higher entry that is not valid: TensorFlow Serving may stumble over it
    until the next publish.
    """
    for version in reversed(versions(serving_dir)):
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
    if version.manifest is None or version.problems:
        raise ServingDirError(_invalid(version, version.problems))
    if os.path.lexists(destination):
        raise ServingDirError(f"cannot copy {version.path} to {destination}: it exists already")
    try:
        tree = scan(version.path)
        model = replace(tree, files=tuple(n for n in tree.files if n != MANIFEST_NAME))
        copied = copy_tree(model, destination)
    except OSError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise ServingDirError(
            f"cannot copy {version.path} to {destination}: {explain(error)}"
        ) from error
    problems = differences(copied, tree.others, version.manifest.files)
    if problems:
        shutil.rmtree(destination, ignore_errors=True)
        raise ServingDirError(_invalid(version, problems))


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
    if path.is_symlink():
        return Version(number, path, None, ("is a symbolic link, expected a directory",))
    if not path.is_dir():
        return Version(number, path, None, ("is not a directory",))
    try:
        text = (path / MANIFEST_NAME).read_bytes().decode("ascii")
        manifest = Manifest.from_json(text)
    except FileNotFoundError:
        return Version(number, path, None, (f"has no {MANIFEST_NAME}: not published by this tool",))
    except OSError as error:
        return Version(number, path, None, (f"cannot be read: {explain(error)}",))
    except (ValueError, RecursionError) as error:
        return Version(number, path, None, (f"{MANIFEST_NAME} is damaged: {error}",))
    problems = []
    if path.name != str(number):
        problems.append(f"is named {path.name!r}, expected {str(number)!r}")
    if manifest.version != number:
        problems.append(f"{MANIFEST_NAME} is that of version {manifest.version}")
    return Version(number, path, manifest, tuple(problems))


def _invalid(version: Version, problems: tuple[str, ...]) -> str:
    return (
        f"version {version.number} at {version.path} does not match its manifest: "
        f"{'; '.join(problems)}; remove that version, or restore its files"
    )
