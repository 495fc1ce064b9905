"""Allows one run at a time on a pipeline root, by any runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.result import ExitCode
from pipeline.runners.failures import CannotStart
from trainer.host.locks import AlreadyLocked, exclusive, lock_file

_LOCK_NAME = ".run.lock"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Makes the pipeline root if it is missing, and keeps a second run off it while the block runs.

    The kernel frees the lock of a run that was killed.
    """
    with contextlib.ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(lock_file(root / _LOCK_NAME), timeout_s=0.0))
        except AlreadyLocked:
            raise CannotStart(
                f"another run is at work in {root}: wait for it, or give this one its own "
                "--pipeline-root",
                ExitCode.FAILED,
            ) from None
        except OSError as error:
            raise CannotStart(
                f"cannot use the pipeline root {root}: {error.strerror}; choose another one "
                "with --pipeline-root",
                ExitCode.USAGE,
            ) from error
        yield
