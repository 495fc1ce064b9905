"""Files and directories, copied so that they are on disk before anybody relies on them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.serving_dir.manifest import FileRecord
from trainer.host.files import read_pieces, sync_directory

# Of one file of a model that is to be published: no classifier of small images comes near, and to
# hash as much takes less than a minute.
MAX_FILE_BYTES = 16 << 30


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


def copy_tree(
    tree: Tree, target: Path, expected: Mapping[str, FileRecord] | None = None
) -> dict[str, FileRecord]:
    """Copies files and directories, all synced to disk; returns the records of what was copied.

    Args:
        tree: what is copied.
        target: a directory that is created.
        expected: the records of all files where they are known: none is read further than that.
    """
    target.mkdir()
    for name in tree.directories:  # sorted: parents come before their children
        (target / name).mkdir()
    copied = {}
    for name in tree.files:
        most = expected[name].bytes if expected else MAX_FILE_BYTES
        copied[name] = copy_file(tree.root / name, target / name, max_bytes=most)
    for name in reversed(tree.directories):
        sync_directory(target / name)
    sync_directory(target)
    return copied


def copy_file(
    source: Path, target: Path | None, *, max_bytes: int | None = MAX_FILE_BYTES
) -> FileRecord:
    """Hashes a file in one pass, copying it durably on the way where there is a target.

    Raises:
        OSError: the file cannot be read or written, is no regular file, or has more bytes.
    """
    sha256, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(target.open("xb")) if target else None
        for piece in read_pieces(source, max_bytes=max_bytes):
            sha256.update(piece)
            size += len(piece)
            if writer:
                writer.write(piece)
        if writer:
            writer.flush()
            os.fsync(writer.fileno())
    return FileRecord(sha256.hexdigest(), size)
