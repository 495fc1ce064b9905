"""Allows one run at a time on a pipeline root, by any runner."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.result import ExitCode
from pipeline.runners.failures import CannotStart
from trainer.host.locks import AlreadyLocked, exclusive, lock_file

_LOCK_NAME = ".run.lock"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Makes the pipeline root if it is missing, and keeps a second run off it while the block runs.

    The kernel frees the lock of a run that was killed. A run that cannot start leaves no file.
    """
    lock = root / _LOCK_NAME
    with contextlib.ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            descriptor = lock_file(lock)
            stack.enter_context(exclusive(descriptor, timeout_s=0.0))
            if not _is_at(lock, descriptor):
                raise AlreadyLocked  # one that ends just now has removed this file
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
        try:
            yield
        except CannotStart:
            lock.unlink(missing_ok=True)
            raise


def removed(root: Path) -> str | None:
    """Returns the line for an error of a run after somebody removed its pipeline root; None if
    nobody did.
    """
    try:
        (root / _LOCK_NAME).stat()
    except FileNotFoundError:
        return f"the pipeline root {root} was removed during the run; the same command begins anew"
    except OSError:  # the error of the run says more
        pass
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Tells whether an open file has that name, and not another file by now, or none."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
