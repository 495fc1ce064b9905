"""Files and directories, copied so that they are on disk before anybody relies on them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from components.serving_dir.manifest import FileRecord

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Tree:
    """The entries below a directory as sorted relative paths; `others` are links, sockets, ..."""

    root: Path
    files: tuple[str, ...]
    directories: tuple[str, ...]
    others: tuple[str, ...]


def scan(root: Path) -> Tree:
    """Returns the entries below a directory; follows no symbolic link."""
    files, directories, others = [], [], []
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    directories.append(name)
                    pending.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    files.append(name)
                else:
                    others.append(name)
    return Tree(root, tuple(sorted(files)), tuple(sorted(directories)), tuple(sorted(others)))


def copy_tree(tree: Tree, target: Path) -> dict[str, FileRecord]:
    """Copies files and directories, all synced to disk; returns the records of what was copied."""
    target.mkdir()
    for name in tree.directories:  # sorted: parents come before their children
        (target / name).mkdir()
    copied = {name: copy_file(tree.root / name, target / name) for name in tree.files}
    for name in reversed(tree.directories):
        sync_directory(target / name)
    sync_directory(target)
    return copied


def copy_file(source: Path, target: Path | None) -> FileRecord:
    """Hashes a file in one pass, copying it durably on the way where there is a target."""
    sha256, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(source.open("rb"))
        writer = stack.enter_context(target.open("xb")) if target else None
        while chunk := reader.read(_CHUNK_BYTES):
            sha256.update(chunk)
            size += len(chunk)
            if writer:
                writer.write(chunk)
        if writer:
            writer.flush()
            os.fsync(writer.fileno())
    return FileRecord(sha256.hexdigest(), size)


def write_durably(path: Path, text: str) -> None:
    """Writes a new file of ASCII text, synced to disk."""
    with path.open("x", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Syncs the names in a directory to disk."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
