"""Expands paths that a user gives, checks whether a run can use them, and removes temporary ones.

Each `require_...` refuses a path by `PathRefused`, and leaves nothing on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile

from trainer.host.errors import Refusal
from trainer.host.files import status_of
from trainer.host.termination import at_end

# TFX, Beam and TensorFlow look their own files up by patterns. In a directory named a[b] they find
# none, and in one named a*b those of a run in a-b beside their own (tried, TFX 1.16).
_PATTERN_CHARACTERS = "*?[\\"

SET_TMPDIR = "set TMPDIR to a directory that this user may write to"  # the remedy without one
_OWN = "tfx-mnist-"  # what the name of a process's own temporary directory begins with

_MAX_NAME = 255  # bytes of a file's name, on all usual file systems of Linux
_MAX_PATH = 4095 - _MAX_NAME  # of a directory: Linux takes no longer path of a file below it

# TFX takes 63 characters for a pipeline's name, which is "tfx-mnist." and the slug.
_MAX_SLUG = 53
_SLUG_DIGITS = 8  # hexadecimal


class PathRefused(Refusal, ValueError):
    """A run cannot use a path."""


def expanded(path: str) -> str:
    """Returns the path with the home directory instead of a leading `~` or `~user`.

    Raises ValueError, which says what was expected, if the path is empty, if a file system cannot
    take it, or if there is neither such a user nor such a file.
    """
    if not path.strip():
        raise ValueError("a path")
    if "\0" in path:
        raise ValueError("a path without a null character")
    found = os.path.expanduser(path)
    if found.startswith("~") and not os.path.lexists(found):
        raise ValueError(f"the home directory of a known user; a file of this name is ./{path}")
    return found


def require_no_pattern(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a path that TensorFlow would take for a pattern of file names."""
    absolute = os.path.abspath(path)
    found = [character for character in _PATTERN_CHARACTERS if character in absolute]
    if found:
        raise PathRefused(
            f"{what} is {absolute!r}, expected a path without {found[0]!r}, which TensorFlow takes "
            f"for a pattern: rename the directory, or choose another {what}"
        )


def require_directory(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a directory, existing or still to be made, in which a run could not write.

    Its path must be UTF-8 and no pattern, and it must be as `require_place` says.
    """
    require_no_pattern(what, path)
    absolute = os.path.abspath(path)
    if not is_utf8(absolute):
        raise PathRefused(
            f"{what} is {absolute!a}, expected a name in UTF-8, as ML Metadata and the release "
            "record keep it: rename the directory, or choose another"
        )
    require_place(what, absolute)


def require_place(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a directory, existing or still to be made, in which nothing could be written.

    It, or the nearest existing one above it, must be a directory that this user may write to.
    """
    require_no_long_name(what, path)
    there = absolute = os.path.abspath(path)
    length = len(os.fsencode(absolute))
    if length > _MAX_PATH:
        raise PathRefused(
            f"{what} has a path of {length:,} bytes, expected at most {_MAX_PATH:,}: choose a "
            f"shorter {what}"
        )
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise PathRefused(
            f"{what} needs the directory {absolute!r}, but {there!r} is none: move that away, or "
            f"choose another {what}"
        )
    require_writable(what, there)


def missing(path: str | os.PathLike[str]) -> str:
    """Says that a path "does not exist", or that this user may not see it; "" if it exists."""
    try:
        return "" if status_of(path) else "does not exist"
    except PermissionError as error:
        return f"cannot be read ({error.strerror})"


def require_no_long_name(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a path with a name that no file system takes."""
    longest = max(map(len, os.fsencode(os.path.abspath(path)).split(os.fsencode(os.sep))))
    if longest > _MAX_NAME:
        raise PathRefused(
            f"{what} has a name of {longest} bytes in its path, expected at most {_MAX_NAME}: "
            f"choose another {what}"
        )


def require_writable(what: str, directory: str | os.PathLike[str]) -> None:
    """Refuses a directory in which this user cannot make a file."""
    require_access(what, directory)
    try:
        # Permissions say little of root and of network file systems. Linux gives the file no name,
        # so that a kill leaves nothing.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise PathRefused(
            f"{what} needs {str(directory)!r}, in which no file can be made ({error.strerror}): "
            f"free that, or choose another {what}"
        ) from None


def require_file(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a path where this user could not write a regular file; follows no symbolic links."""
    if os.path.isfile(path) and not os.path.islink(path):
        require_access(what, path)
    elif os.path.lexists(path):
        raise PathRefused(
            f"{what} needs the file {str(path)!r}, but something else is in its place: move that "
            f"away, or choose another {what}"
        )


def require_temporary_directory() -> None:
    """Refuses a machine on which this user can make no temporary file."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise PathRefused(f"{error.strerror}: {SET_TMPDIR}") from None


def require_access(what: str, path: str | os.PathLike[str]) -> None:
    """Refuses a file or directory that this user may not read and write."""
    needed = os.R_OK | os.W_OK | (os.X_OK if os.path.isdir(path) else 0)
    if not os.access(path, needed, effective_ids=os.access in os.supports_effective_ids):
        raise PathRefused(
            f"{what} needs {str(path)!r}, which this user may not read and write, or which lies on "
            f"a read-only disk: give permission, or choose another {what}"
        )


def is_utf8(text: str) -> bool:
    """Tells whether a path is UTF-8; Python represents its other bytes by surrogates (PEP 383)."""
    return text == text.encode("utf-8", "ignore").decode("utf-8")


def slug(name: str) -> str:
    """Returns a name as a file name, with a digest instead of the end of a long one."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if len(words) <= _MAX_SLUG:
        return words
    digest = hashlib.sha256(name.encode()).hexdigest()[:_SLUG_DIGITS]
    return f"{words[: _MAX_SLUG - _SLUG_DIGITS - 1]}_{digest}"


def own_temporary_directory() -> None:
    """Has this process make its temporary files in a directory of its own, which goes with it.

    TensorFlow's AutoGraph and tensorflow-datasets leave files behind, and matplotlib removes its
    own when the process ends. Where no directory can be made, there is none.
    """
    with contextlib.suppress(OSError):
        directory = tempfile.TemporaryDirectory(prefix=_OWN, ignore_cleanup_errors=True)
        tempfile.tempdir = directory.name
        at_end(directory.cleanup)


def temporary_directory() -> str:
    """Returns the user's temporary directory, in which this process may have its own."""
    parent, name = os.path.split(tempfile.gettempdir())
    return parent if name.startswith(_OWN) else os.path.join(parent, name)
