"""Writes files that survive a kill or a power cut, and reads files of others without surprises.

Instead of a file there may be a FIFO, on which `open` waits forever, or a link to /dev/zero, which
never ends. These, and files that are too large, raise `UnfitFile`. It is an OSError, so code that
handles unreadable files handles them too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 1 << 20
_MAX_RECORD_BYTES = 2 << 30  # as much as a message of protobuf has
_RECORD_FRAME = 16  # bytes of a TFRecord beside its content: a length, and two checksums

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class UnfitFile(OSError):
    """A path leads to something else than a regular file, or to a too large one; see `strerror`."""


def write_durably(path: Path, content: str | bytes) -> None:
    """Writes a file, and missing directories, so that a kill or a power cut leaves all of it, or
    the former content; text is written as UTF-8.

    A symbolic link stays, and the file that it leads to is written, unless Linux follows no such
    link (fs.protected_symlinks): then this is a PermissionError. A file that is replaced gives its
    group and its permissions to the new one. Of several writers the last one wins. After an error
    no part of the file is left, or only its name could not be synced; a kill may leave a hidden
    file.
    """
    former = status_of(path)  # first, as `realpath` follows the links of others in /tmp, too
    path = Path(os.path.realpath(path))
    make_directory(path.parent)
    writing = path.with_name(f".{secrets.token_hex(8)}.writing")
    try:
        with writing.open("xb") as file:
            if former is not None:
                with contextlib.suppress(OSError):  # this user is not in that group
                    os.fchown(file.fileno(), -1, former.st_gid)
                with contextlib.suppress(OSError):  # the disk has no permissions
                    os.fchmod(file.fileno(), stat.S_IMODE(former.st_mode))
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        writing.replace(path)
    except BaseException:
        writing.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_synced(path: Path, content: str | bytes) -> None:
    """Writes a new file to disk, text as UTF-8, but not its name; its directory must be there.

    Whoever may read that directory may read the file, see `let_read`.
    """
    with path.open("xb") as file:
        let_read(path)
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def status_of(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Returns the status of what a path leads to, or None if there is nothing.

    Raises PermissionError if this user may not see it, or if Linux does not follow a link there.
    """
    try:
        return os.stat(path)
    except PermissionError:
        raise
    except OSError:
        return None


def let_read(path: Path) -> None:
    """Lets everybody who may read its directory read a new file or directory, whatever the umask.

    It gets the group of its directory where others may not read that. Nobody else is let write.
    """
    own, above = path.stat(), path.parent.stat()
    mode = stat.S_IMODE(own.st_mode)
    readers = above.st_mode & (0o055 if path.is_dir() else 0o044)
    if own.st_gid != above.st_gid and readers & 0o044 == 0o040:
        with contextlib.suppress(OSError):  # this user is not in that group
            path.chmod(mode & 0o707)  # first, as the umask is for the user's own group
            os.chown(path, -1, above.st_gid)
            mode &= 0o707
    with contextlib.suppress(OSError):  # the disk has no permissions
        path.chmod(mode | readers)


def make_directory(path: Path) -> None:
    """Makes a directory and its missing parents, and syncs their names to disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)


def sync_directory(path: Path) -> None:
    """Syncs the names in a directory to disk, on a file system that can (fsync(2), EINVAL)."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(directory)


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Returns the content of a regular file.

    Raises `UnfitFile` if it is none or is larger, also if it grows meanwhile, and OSError if it
    cannot be read.
    """
    return b"".join(read_pieces(path, max_bytes=max_bytes))


def read_pieces(path: Path, *, max_bytes: int | None) -> Iterator[bytes]:
    """Yields the content of a regular file in pieces of up to 1 MiB; raises as `read_regular` does,
    possibly after some pieces.
    """
    size = 0
    with open_regular(path, max_bytes=max_bytes) as file:
        while piece := file.read(_PIECE_BYTES):
            size += len(piece)
            if max_bytes is not None and size > max_bytes:
                raise _too_large(path, size, max_bytes)
            yield piece


def require_whole_records(path: Path) -> None:
    """Raises `UnfitFile` for a file of TFRecords, without compression, of which one declares more
    bytes than follow: TensorFlow takes as much memory as it declares, which may end the process.
    """
    with open_regular(path, max_bytes=None) as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while header := os.pread(file.fileno(), 8, at):
            length = int.from_bytes(header, "little")
            if length > min(size - at - _RECORD_FRAME, _MAX_RECORD_BYTES):
                text = f"corrupted record at {at}, of {length:,} bytes in a file of {size:,}"
                raise UnfitFile(errno.EOVERFLOW, text, str(path))
            at += length + _RECORD_FRAME


def open_regular(path: Path, *, max_bytes: int | None) -> BinaryIO:
    """Opens a regular file for reading, without waiting; follows symbolic links.

    `max_bytes` bounds its size when it is opened; None allows any.
    """
    return os.fdopen(open_descriptor(path, os.O_RDONLY, max_bytes=max_bytes), "rb")


def open_descriptor(path: Path, flags: int, *, max_bytes: int | None) -> int:
    """Opens a regular file like `os.open`, without waiting; see `open_regular`."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:  # in a sticky directory O_CREAT opens no file of another user (fs.protected_regular)
        descriptor = os.open(path, flags & ~os.O_CREAT)
    except FileNotFoundError:
        descriptor = os.open(path, flags, 0o666)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special file")
            raise UnfitFile(errno.EINVAL, f"Is a {kind}, expected a regular file", str(path))
        if max_bytes is not None and status.st_size > max_bytes:
            raise _too_large(path, status.st_size, max_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _too_large(path: Path, actual: int, expected: int) -> UnfitFile:
    text = f"Holds {actual:,} bytes or more, expected at most {expected:,}"
    return UnfitFile(errno.EOVERFLOW, text, str(path))
