"""`CannotStart`, and the lines that stand for an error of a full disk or another limit.

Nothing heavy is imported, so that the command line can catch `CannotStart` and answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator

from components.example_gen.data_error import DataError
from components.serving_dir import ServingDirError
from pipeline.config import RunConfig
from pipeline.result import ExitCode
from pipeline.stores import StoreError, is_uri
from trainer.host.errors import UserError
from trainer.host.paths import SET_TMPDIR, temporary_directory
from trainer.host.text import first_line, is_ours

_NAMES_ITS_PATH = (DataError, ServingDirError, StoreError)

# What is left of a full disk in ML Metadata's message where SQLite has undone the transaction.
_UNDONE = "no transaction is active"
_MORE_MEMORY = "free memory, raise `ulimit -v`, or use a machine with more"
_MORE_THREADS = "raise `ulimit -u`, or the number of processes of this control group (container)"
# What stands in the message of an error for want of something, and its remedy. Beam keeps messages
# as text, and ctypes and the linker make others of errno's.
_REMEDIES = {
    "OOM when allocating": _MORE_MEMORY,
    "failed to map segment from shared object": _MORE_MEMORY,
    os.strerror(errno.ENOMEM): _MORE_MEMORY,
    f"[Errno {errno.EAGAIN}]": _MORE_THREADS,
    "can't start new thread": _MORE_THREADS,
    os.strerror(errno.EMFILE): "raise `ulimit -n`",
    os.strerror(errno.EFBIG): "raise `ulimit -f`",
    "Failed to bind to address": "free some ports, or widen `sysctl net.ipv4.ip_local_port_range`",
    "No usable temporary directory found": SET_TMPDIR,
}
_LITTLE = 1 << 20  # bytes


class CannotStart(UserError):
    """A run could not start: there is no result, and nothing was written.

    Attributes:
      exit_code: FAILED for a state of the machine that may pass (another run holds the pipeline
        root), USAGE for a configuration or data source that was refused.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Makes any other error for the user a `CannotStart` with USAGE."""
    try:
        yield
    except CannotStart:
        raise
    except UserError as error:
        raise CannotStart(str(error), ExitCode.USAGE) from error


def no_space(error: BaseException, config: RunConfig) -> str | None:
    """Returns the line for an error that a full disk has caused; None for another error.

    TensorFlow, Beam and ML Metadata then raise errors of their own, which keep only the text. One
    of ours that names its path, which may lie on another disk, has a line of its own.
    """
    signs = [os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full"]
    if _is_full(config.pipeline_root):
        signs.append(_UNDONE)
    texts = [str(one) for one in _chain(error)]
    if isinstance(error, _NAMES_ITS_PATH) or not any(s in text for s in signs for text in texts):
        return None
    artifacts = config.artifacts
    moved = f", for the artifacts {artifacts}" if artifacts and not is_uri(artifacts) else ""
    return (
        f"no space left on device: free some for the pipeline root {config.pipeline_root}{moved} "
        f"and for {temporary_directory()}, or choose another --pipeline-root; the same command "
        "goes on from what is finished"
    )


def no_permission(error: BaseException, config: RunConfig) -> str | None:
    """Returns the line for an error that a file of another user in the pipeline root has caused, as
    of a run by sudo; None for another error.
    """
    line = first_line(error)
    if is_ours(error) or os.strerror(errno.EACCES) not in line:
        return None
    if os.path.abspath(config.pipeline_root) not in line:
        return None
    return (
        f"{line}; a pipeline root belongs to one user: give this one all that is in "
        f"{config.pipeline_root} (chown), or choose another --pipeline-root"
    )


def limit_reached(error: BaseException) -> str | None:
    """Returns the line for a library's error for want of memory, threads, open files or another
    thing that the machine or the user limits; None for another error.
    """
    if is_ours(error):
        return None
    for one in _chain(error):
        remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in str(one)]
        if remedies or isinstance(one, MemoryError):
            remedy = (remedies or [_MORE_MEMORY])[0]
            return f"{first_line(error)}; {remedy}, and give the same command again"
    return None


def _is_full(directory: str) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(directory).free < _LITTLE
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__
