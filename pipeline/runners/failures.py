"""`CannotStart`, and the line that stands for any other error.

Nothing heavy is imported, so that the command line can catch `CannotStart` and answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator

from components.example_gen.sources import DataError
from components.serving_dir import ServingDirError
from pipeline.config import RunConfig
from pipeline.stores import is_uri
from trainer.host.paths import temporary_directory
from trainer.host.text import first_line, is_ours

_NAMES_ITS_PATH = (DataError, ServingDirError)

# What is left of a full disk in ML Metadata's message where SQLite has undone the transaction.
_UNDONE = "no transaction is active"
_NO_ROOM = "OOM when allocating"  # in TensorFlow's messages, which Beam keeps as text
_LITTLE = 1 << 20  # bytes


class CannotStart(Exception):
    """A run that could not start, in one line: there is no result, and nothing was written.

    Attributes:
      exit_code: FAILED for a state of the machine that may pass (another run holds the pipeline
        root), USAGE for a configuration or data source that was refused.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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


def no_memory(error: BaseException) -> str | None:
    """Returns the line for a library's error for want of memory; None for another error."""
    wanted = any(isinstance(one, MemoryError) or _NO_ROOM in str(one) for one in _chain(error))
    if is_ours(error) or not wanted:
        return None
    return (
        f"{first_line(error)}; free memory, or use a machine with more: the same command goes on "
        "from what is finished"
    )


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
