"""Files of a model: listed, hashed, and copied so that they are on disk before they are used."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.host.errors import Refusal, UserError
from trainer.host.files import let_read, read_pieces, sync_directory

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "model.sig"  # as OpenSSF's model-signing calls it

# Of one file of a model that is to be published: no classifier of small images comes near, and to
# hash as much takes less than a minute.
MAX_FILE_BYTES = 16 << 30

_REMEDIES = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space in that quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EACCES: "give this user permission there",
    errno.EPERM: "give this user permission there",
    errno.EROFS: "choose a serving directory on a writable disk",
    errno.EXDEV: "keep the serving directory in a volume, as overlayfs moves no image's directory",
    errno.ELOOP: "remove that symbolic link",
    errno.ENOTDIR: "choose a serving directory whose parents are directories",
    errno.ETIMEDOUT: "wait until it ends",
    # Of `flock`, where the file system has none.
    errno.ENOLCK: "choose a serving directory on a disk with locks",
    errno.ENOSYS: "choose a serving directory on a disk with locks",
    errno.EOPNOTSUPP: "choose a serving directory on a disk with locks",
}


class ServingDirError(UserError, RuntimeError):
    """One line: what could not be done with the serving directory, why, and the remedy."""


class NoServingDir(ServingDirError, Refusal):
    """What was given is another kind of directory."""


class StaleDecision(ServingDirError):
    """A decision to release does not hold any more, and nothing was published."""

    exit_code = 3


def explain(error: OSError) -> str:
    """Returns what the system said, of which file, and the remedy."""
    where = f" ({str(error.filename)!r})" if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "see to that path")
    return f"{error.strerror or error}{where}: {remedy}"


@contextlib.contextmanager
def explained(what: str, then: str = "") -> Iterator[None]:
    """Raises an OSError as a ServingDirError: "cannot WHAT: why: remedyTHEN"."""
    try:
        yield
    except OSError as error:
        raise ServingDirError(f"cannot {what}: {explain(error)}{then}") from error


@dataclass(frozen=True)
class FileRecord:
    """What the manifest knows of one file: the hex SHA-256 of its content and its size in bytes."""

    sha256: str
    bytes: int


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
    """Copies files and directories, all synced to disk, into a directory that is created.

    Whoever may read the directory above that may read the copies, see `let_read`. Where the
    expected records are known, no file is read further than these say.
    """
    for directory in (target, *(target / name for name in tree.directories)):  # parents first
        directory.mkdir()
        let_read(directory)
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
        if target:
            let_read(target)
        for piece in read_pieces(source, max_bytes=max_bytes):
            sha256.update(piece)
            size += len(piece)
            if writer:
                writer.write(piece)
        if writer:
            writer.flush()
            os.fsync(writer.fileno())
    return FileRecord(sha256.hexdigest(), size)


def scan_model(model_dir: Path) -> Tree:
    """Lists a model's files; raises ServingDirError if they cannot be published as they are."""
    if not model_dir.is_dir():
        actual = "is a file" if model_dir.exists() else "does not exist"
        raise ServingDirError(f"the model {model_dir} {actual}: give an exported model's directory")
    tree = scan(model_dir)
    if tree.others:
        raise ServingDirError(
            f"the model {model_dir} holds {tree.others[0]!r}, a symbolic link or special file: "
            "only regular files and directories can be published"
        )
    for name, kept_for in ((MANIFEST_NAME, "manifest"), (SIGNATURE_NAME, "signature")):
        if name in (*tree.files, *tree.directories):
            raise ServingDirError(
                f"the model {model_dir} holds {name!r}, a name kept for the release's own "
                f"{kept_for}: rename it, or give a model that was not published yet"
            )
    if not tree.files:
        raise ServingDirError(f"the model {model_dir} holds no file: export the model first")
    return tree


def digest_of(model_dir: Path) -> str:
    """Returns a model's digest: SHA-256 over the sorted (path, SHA-256, size) of its files.

    Times, owners, permissions and empty directories have no influence.
    """
    with explained(f"read the model {model_dir}"):
        model = scan_model(model_dir)
        return digest_of_records({name: copy_file(model.root / name, None) for name in model.files})


def digest_of_records(files: Mapping[str, FileRecord]) -> str:
    """Returns the digest of a model with these files, see `digest_of`."""
    rows = [[name, record.sha256, record.bytes] for name, record in sorted(files.items())]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def differences(
    actual: Mapping[str, FileRecord], others: tuple[str, ...], expected: Mapping[str, FileRecord]
) -> tuple[str, ...]:
    """Returns how files, and `others` that are no files, differ from a manifest's records."""
    problems = [f"{name!r} is a symbolic link or special file" for name in others]
    for name in sorted(actual.keys() | expected.keys()):
        if name not in actual:
            problems.append(f"file {name!r} is missing")
        elif name not in expected:
            problems.append(f"file {name!r} is not in {MANIFEST_NAME}")
        elif actual[name].bytes != expected[name].bytes:
            problems.append(
                f"file {name!r} has {actual[name].bytes} bytes, expected {expected[name].bytes}"
            )
        elif actual[name] != expected[name]:
            problems.append(
                f"file {name!r} has SHA-256 {actual[name].sha256}, expected {expected[name].sha256}"
            )
    return tuple(problems)
