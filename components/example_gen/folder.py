"""The data source `folder:DIR`: images in folders that bear the names of their classes.

They stand in `DIR/train/CLASS` and `DIR/test/CLASS`, or in `DIR/CLASS`, at any depth below.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from components.example_gen.data_error import DataError
from components.example_gen.image_set import TEST, TRAIN
from components.example_gen.listing import Listing
from trainer.host.paths import is_utf8
from trainer.host.text import quoted

# What macOS and network storage leave beside people's files.
_SYSTEM_FOLDERS = frozenset(["__MACOSX", "@eaDir", "lost+found"])
_SPLIT_NAMES = frozenset([TRAIN, TEST, "training", "testing", "val", "valid", "validation", "eval"])


def list_folder(directory: Path) -> Listing:
    """Lists all files below the folders of the classes, in the order of their paths."""
    try:
        if not directory.exists():
            raise DataError(
                f"folder:{directory}: there is no such directory, expected one of class folders"
            )
        if not directory.is_dir():
            raise DataError(
                f"folder:{directory}: is a file, expected a directory of class folders; a table is "
                "given as csv:FILE"
            )
        folders, ignored = _folders_in(directory)
        if {TRAIN, TEST} <= folders.keys():
            return _list_splits(directory)
        _require_classes(directory, folders)
        paths, labels, hidden = _list_classes(directory, folders, sorted(folders))
    except OSError as error:
        raise _unreadable(error) from error
    names, ignored = tuple(sorted(folders)), ignored + hidden
    return Listing(directory, directory.name, paths, labels, names, ignored=ignored)


def _list_splits(directory: Path) -> Listing:
    train, train_ignored = _folders_in(directory / TRAIN)
    test, test_ignored = _folders_in(directory / TEST)
    _require_classes(directory / TRAIN, train)
    if unknown := sorted(test.keys() - train.keys()):
        raise DataError(
            f"folder:{directory}: test has a class folder {quoted(unknown[0])}, which train has "
            "not; expected the same classes in both"
        )
    names = sorted(train)
    paths, labels, hidden = _list_classes(directory, train, names)
    test_paths, test_labels, test_hidden = _list_classes(directory, test, names)
    is_test = np.repeat([False, True], [len(paths), len(test_paths)])
    return Listing(
        directory,
        directory.name,
        [*paths, *test_paths],
        np.concatenate([labels, test_labels]),
        tuple(names),
        is_test,
        ignored=train_ignored + test_ignored + hidden + test_hidden,
    )


def _folders_in(directory: Path) -> tuple[dict[str, list[str]], int]:
    """Returns the paths of folders by the names of their classes, and the number of other entries.

    A name is one class in whichever of Unicode's forms a system stores it.
    """
    folders: dict[str, list[str]] = {}
    ignored = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if _is_hidden(entry.name) or not _is_folder(entry):
                ignored += 1
                continue
            if not is_utf8(entry.name):
                raise DataError(
                    f"folder:{directory}: the class folder {quoted(entry.name)} is not UTF-8, "
                    "expected a name that is: rename it"
                )
            folders.setdefault(unicodedata.normalize("NFC", entry.name), []).append(entry.path)
    return folders, ignored


def _require_classes(directory: Path, folders: dict[str, list[str]]) -> None:
    names = sorted(folders)
    if len(names) > 1 and {name.lower() for name in names} <= _SPLIT_NAMES:
        training = next((name for name in names if name.lower().startswith(TRAIN)), names[0])
        raise DataError(
            f"folder:{directory}: holds {', '.join(names)}, expected train and test, or the "
            f"folders of the classes; rename the splits to {TRAIN} and {TEST}, or give folder:"
            f"{directory}/{training}, of which a test split is cut"
        )
    if len(names) < 2:
        have = f"one folder, {quoted(names[0])}" if names else "no folder"
        hint = f"; if the classes are in it, give folder:{directory}/{names[0]}" if names else ""
        raise DataError(
            f"folder:{directory}: holds {have}, expected one per class, two or more{hint}"
        )


def _list_classes(
    root: Path, folders: dict[str, list[str]], names: list[str]
) -> tuple[list[str], np.ndarray, int]:
    """Returns the paths of all files relative to `root`, their labels, and the hidden entries."""
    start = len(os.path.join(root, ""))
    paths: list[str] = []
    counts = np.zeros(len(names), np.int64)
    ignored = 0
    for label, name in enumerate(names):
        found, hidden = files_below(folders.get(name, ()))
        paths += sorted(path[start:] for path in found)
        counts[label] = len(found)
        ignored += hidden
    return paths, np.repeat(np.arange(len(names)), counts), ignored


def files_below(folders: Iterable[str]) -> tuple[list[str], int]:
    """Returns the paths of all files, and the number of hidden entries; follows links.

    Each directory is read once, so a link to one above ends there.
    """
    waiting, seen = list(folders), set()
    found: list[str] = []
    hidden = 0
    while waiting:
        folder = waiting.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_hidden(entry.name):
                    hidden += 1
                elif _is_folder(entry):
                    waiting.append(entry.path)
                else:
                    found.append(entry.path)
    return found, hidden


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading the file says what is wrong
        return False


def _unreadable(error: OSError) -> DataError:
    return DataError(
        f"{error.filename}: cannot be read ({error.strerror or error}), expected a directory that "
        "this user may read"
    )
