"""Version directories of a served model: publish atomically, list, verify, copy out.

The layout is the one that TensorFlow Serving watches: a directory whose integer-named children are
the versions, the highest of which is served::

    serving/
      1/  saved_model.pb  variables/...  manifest.json
      2/  saved_model.pb  variables/...  manifest.json
      .publish.lock          held by the publisher at work
      .staging-<random>/     a version that is not complete yet; the next publish removes leftovers

Synopsis::

    published = publish(Path("model"), Path("serving"), {"run_key": "9f2c"})
    published.version                         # 1, then 2, 3, ...: highest + 1, never the clock
    newest_valid(Path("serving")).manifest.release["run_key"]   # "9f2c"

A version appears by one rename of a directory whose files, directories and manifest are on disk
already. So a process that is killed, or a machine that loses power, at any moment leaves either the
complete version or none. `flock` keeps publishers apart; readers need no lock.

Names: TensorFlow Serving reads a child's name as an int64 and loads what it finds there, be it
complete or not (`file_system_storage_path_source.cc`). Hence every name that it would read as a
number of zero or more counts when the next number is chosen, also "007", a plain file called "9",
or a directory that another tool made. Only what this module published under the canonical name,
with a manifest that its files match, is valid. Negative numbers can never be the highest beside a
published version, and what only Python takes for a number (other scripts' digits, "1_0", numbers
above int64) is no version to TensorFlow Serving either: all of these are ignored.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1
LOCK_NAME = ".publish.lock"
STAGING_PREFIX = ".staging-"
DEFAULT_LOCK_TIMEOUT_S = 60.0

_INT64_MAX = 2**63 - 1
_INTEGER_NAME = re.compile(r"\s*\+?[0-9]+\s*", re.ASCII)
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_LOCK_POLL_S = 0.02
_REMEDIES = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space in that quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EACCES: "give this user permission there",
    errno.EPERM: "give this user permission there",
    errno.EROFS: "choose a serving directory on a writable disk",
    errno.ENOTDIR: "choose a serving directory whose parents are directories",
}

_log = logging.getLogger(__name__)


class ServingDirError(RuntimeError):
    """One line: what could not be done with the serving directory, why, and the remedy."""


@dataclass(frozen=True)
class FileRecord:
    """What the manifest knows of one file: the hex SHA-256 of its content and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What was published: written beside the model as `manifest.json`, never changed afterwards.

    Attributes:
        version: the directory's number.
        published_at: ISO 8601, UTC. For people: nothing is decided by it.
        model_digest: `digest_of` the model's files.
        files: relative POSIX path (undecodable bytes as surrogate escapes) to its record.
        release: the publisher's own JSON object: run, data, metrics, baseline.
    """

    version: int
    published_at: str
    model_digest: str
    files: Mapping[str, FileRecord]
    release: Mapping[str, object]

    def to_json(self) -> str:
        """Returns the manifest's file content: plain ASCII, stable order of keys."""
        content = {
            "format": MANIFEST_FORMAT,
            "version": self.version,
            "published_at": self.published_at,
            "model_digest": self.model_digest,
            "files": {
                name: {"sha256": record.sha256, "bytes": record.bytes}
                for name, record in sorted(self.files.items())
            },
            "release": dict(self.release),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is not such a manifest, or its digest is not that of its files.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != MANIFEST_FORMAT:
            raise ValueError(f"not a manifest of format {MANIFEST_FORMAT}")
        try:
            manifest = cls(
                version=int(content["version"]),
                published_at=str(content["published_at"]),
                model_digest=str(content["model_digest"]),
                files={
                    name: FileRecord(sha256=str(record["sha256"]), bytes=int(record["bytes"]))
                    for name, record in content["files"].items()
                },
                release=dict(content["release"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"incomplete manifest: {error!r}") from error
        if not all(_HEX_SHA256.fullmatch(record.sha256) for record in manifest.files.values()):
            raise ValueError("a file's sha256 is not 64 hexadecimal digits")
        if _digest(manifest.files) != manifest.model_digest:
            raise ValueError("its model_digest is not that of its files")
        return manifest


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


@dataclass(frozen=True)
class Published:
    """What `publish` did: `created` is False where the model was the newest version already."""

    version: int
    path: Path
    created: bool
    model_digest: str


@dataclass(frozen=True)
class _Tree:
    """The entries below a directory as sorted relative paths; `others` are links, sockets, ..."""

    root: Path
    files: tuple[str, ...]
    directories: tuple[str, ...]
    others: tuple[str, ...]


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def publish(
    model_dir: Path,
    serving_dir: Path,
    release: Mapping[str, object],
    *,
    now: Callable[[], datetime] = _utc_now,
    lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
) -> Published:
    """Makes a copy of a model the newest version, atomically and durably.

    A model whose digest is that of the highest version already is not published again. Where the
    highest version is damaged it is: TensorFlow Serving would look at nothing but the highest.

    Args:
        model_dir: directory with at least one file, and without symbolic links.
        serving_dir: created if need be; its parents too.
        release: JSON object for the manifest.
        now: the clock for `published_at`.
        lock_timeout_s: how long to wait for another publisher, in seconds.

    Raises:
        ServingDirError: nothing was published, and nothing was left behind; but for one case,
            which the message names: the version is in place, and the last sync failed.
    """
    model_dir, serving_dir = Path(model_dir), Path(serving_dir)
    _require_json(release)
    try:
        model = _scan_model(model_dir)
        _require_apart(model_dir, serving_dir)
        _make_serving_dir(serving_dir)
        with locked(serving_dir, timeout_s=lock_timeout_s):
            _remove_leftovers(serving_dir)
            return _publish_locked(model, serving_dir, release, now)
    except OSError as error:
        raise ServingDirError(
            f"cannot publish {model_dir} to {serving_dir}: {_explain(error)}, and publish again; "
            "no version was added"
        ) from error


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
            f"cannot read the serving directory {serving_dir}: {_explain(error)}"
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
        tree = _scan(version.path)
        actual = {
            name: _copy_file(tree.root / name, None) for name in tree.files if name != MANIFEST_NAME
        }
    except OSError as error:
        return (f"cannot be read: {_explain(error)}",)
    return _differences(actual, tree.others, version.manifest.files)


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


def digest_of(model_dir: Path) -> str:
    """Returns a model's digest: SHA-256 over the sorted (path, SHA-256, size) of its files.

    Times, owners, permissions and empty directories have no influence.

    Raises:
        ServingDirError: no such directory, no file in it, or a symbolic link or special file.
    """
    try:
        model = _scan_model(Path(model_dir))
        return _digest({name: _copy_file(model.root / name, None) for name in model.files})
    except OSError as error:
        raise ServingDirError(f"cannot read the model {model_dir}: {_explain(error)}") from error


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
        tree = _scan(version.path)
        model = replace(tree, files=tuple(n for n in tree.files if n != MANIFEST_NAME))
        copied = _copy_tree(model, destination)
    except OSError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise ServingDirError(
            f"cannot copy {version.path} to {destination}: {_explain(error)}"
        ) from error
    problems = _differences(copied, tree.others, version.manifest.files)
    if problems:
        shutil.rmtree(destination, ignore_errors=True)
        raise ServingDirError(_invalid(version, problems))


@contextlib.contextmanager
def locked(serving_dir: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the publishers' lock of an existing serving directory.

    The kernel lets go of it when its holder ends, however it ends. The lock file stays: removing it
    would let two publishers lock two files of the same name.

    Raises:
        ServingDirError: another publisher still held it after `timeout_s` seconds.
    """
    path = serving_dir / LOCK_NAME
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                raise ServingDirError(
                    f"another publisher has held {path} for more than {timeout_s:g} s: "
                    "wait until it ends, and publish again"
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _publish_locked(
    model: _Tree, serving_dir: Path, release: Mapping[str, object], now: Callable[[], datetime]
) -> Published:
    staging = serving_dir / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
    try:
        files = _copy_tree(model, staging)
        digest = _digest(files)
        present = versions(serving_dir)
        if present and _is_model(present[-1], digest):
            return Published(present[-1].number, present[-1].path, False, digest)
        number = present[-1].number + 1 if present else 1
        if number > _INT64_MAX:
            raise ServingDirError(
                f"{present[-1].path} has the highest number that TensorFlow Serving can read: "
                "move it away"
            )
        published_at = now().astimezone(timezone.utc).isoformat(timespec="seconds")
        manifest = Manifest(number, published_at, digest, files, release)
        _write_durably(staging / MANIFEST_NAME, manifest.to_json())
        _sync_directory(staging)
        target = serving_dir / str(number)
        os.rename(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    try:
        _sync_directory(serving_dir)
    except OSError as error:
        raise ServingDirError(
            f"version {number} is complete and in place at {target}, but a power cut may undo it, "
            f"since {serving_dir} could not be synced to disk: {_explain(error)}"
        ) from error
    return Published(number, target, True, digest)


def _is_model(version: Version, digest: str) -> bool:
    """Tells whether a version is valid and holds the model of that digest."""
    return (
        version.manifest is not None
        and version.manifest.model_digest == digest
        and not verify(version)
    )


def _remove_leftovers(serving_dir: Path) -> None:
    """Removes what killed publishers left; to be called with the lock held."""
    with os.scandir(serving_dir) as entries:
        leftovers = [Path(entry) for entry in entries if entry.name.startswith(STAGING_PREFIX)]
    for leftover in leftovers:
        _log.info("removing what an interrupted publish left: %s", leftover)
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _make_serving_dir(serving_dir: Path) -> None:
    if serving_dir.exists() and not serving_dir.is_dir():
        raise ServingDirError(
            f"the serving directory {serving_dir} is a file: choose another path, or remove it"
        )
    missing = [path for path in (serving_dir, *serving_dir.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)


def _require_json(release: Mapping[str, object]) -> None:
    try:
        json.dumps(dict(release), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ServingDirError(
            f"the release record is not JSON: {error}; give text, finite numbers, booleans, None, "
            "lists and objects"
        ) from error


def _require_apart(model_dir: Path, serving_dir: Path) -> None:
    model, serving = model_dir.resolve(), serving_dir.resolve()
    if model == serving or model in serving.parents:
        raise ServingDirError(
            f"the serving directory {serving_dir} is inside the model {model_dir}: choose another"
        )


def _scan_model(model_dir: Path) -> _Tree:
    if not model_dir.is_dir():
        actual = "is a file" if model_dir.exists() else "does not exist"
        raise ServingDirError(f"the model {model_dir} {actual}: give an exported model's directory")
    tree = _scan(model_dir)
    if tree.others:
        raise ServingDirError(
            f"the model {model_dir} holds {tree.others[0]!r}, a symbolic link or special file: "
            "only regular files and directories can be published"
        )
    if MANIFEST_NAME in (*tree.files, *tree.directories):
        raise ServingDirError(
            f"the model {model_dir} holds {MANIFEST_NAME!r}, a name kept for the release's own "
            "manifest: rename it, or give a model that was not published yet"
        )
    if not tree.files:
        raise ServingDirError(f"the model {model_dir} holds no file: export the model first")
    return tree


def _scan(root: Path) -> _Tree:
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
    return _Tree(root, tuple(sorted(files)), tuple(sorted(directories)), tuple(sorted(others)))


def _copy_tree(tree: _Tree, target: Path) -> dict[str, FileRecord]:
    """Copies files and directories, all synced to disk; returns the records of what was copied."""
    target.mkdir()
    for name in tree.directories:  # sorted: parents come before their children
        (target / name).mkdir()
    copied = {name: _copy_file(tree.root / name, target / name) for name in tree.files}
    for name in reversed(tree.directories):
        _sync_directory(target / name)
    _sync_directory(target)
    return copied


def _copy_file(source: Path, target: Path | None) -> FileRecord:
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


def _write_durably(path: Path, text: str) -> None:
    with path.open("x", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _digest(files: Mapping[str, FileRecord]) -> str:
    rows = [[name, record.sha256, record.bytes] for name, record in sorted(files.items())]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def _number(name: str) -> int | None:
    """Returns the number that TensorFlow Serving reads in a name, if it is one from 0 to int64."""
    if not _INTEGER_NAME.fullmatch(name):
        return None
    digits = name.strip().lstrip("+").lstrip("0")
    if len(digits) > len(str(_INT64_MAX)):  # Python refuses to convert very many digits
        return None
    number = int(digits or "0")
    return number if number <= _INT64_MAX else None


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
        return Version(number, path, None, (f"cannot be read: {_explain(error)}",))
    except (ValueError, RecursionError) as error:
        return Version(number, path, None, (f"{MANIFEST_NAME} is damaged: {error}",))
    problems = []
    if path.name != str(number):
        problems.append(f"is named {path.name!r}, expected {str(number)!r}")
    if manifest.version != number:
        problems.append(f"{MANIFEST_NAME} is that of version {manifest.version}")
    return Version(number, path, manifest, tuple(problems))


def _differences(
    actual: Mapping[str, FileRecord], others: tuple[str, ...], expected: Mapping[str, FileRecord]
) -> tuple[str, ...]:
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


def _invalid(version: Version, problems: tuple[str, ...]) -> str:
    return (
        f"version {version.number} at {version.path} does not match its manifest: "
        f"{'; '.join(problems)}; remove that version, or restore its files"
    )


def _explain(error: OSError) -> str:
    where = f" ({str(error.filename)!r})" if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "see to that path")
    return f"{error.strerror or error}{where}: {remedy}"
