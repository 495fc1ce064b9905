"""Locks between real processes."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.host.locks import AlreadyLocked, exclusive, lock_file

# Holds the lock of what it is given until its standard input ends.
HOLD = """
import pathlib, sys
from trainer.host.locks import exclusive, lock_file
with exclusive(lock_file(pathlib.Path(sys.argv[1], ".lock")), timeout_s=0.0):
    print("held", flush=True)
    sys.stdin.read()
"""


def opened(path: Path) -> int:
    return lock_file(path / ".lock")


@contextlib.contextmanager
def held(path: Path, code: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.stdin.close()


def test_a_lock_that_another_process_holds_is_waited_for_and_no_longer(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with held(tmp_path) as holder:
        with (
            pytest.raises(AlreadyLocked, match="another process has held the lock for more than 0"),
            exclusive(opened(tmp_path), timeout_s=0.05),
        ):
            pass
        assert holder.poll() is None
    assert os.listdir("/proc/self/fd") == before


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with held(tmp_path) as holder:
        holder.kill()
        with exclusive(opened(tmp_path), timeout_s=10.0):
            pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exclusive(opened(tmp_path), timeout_s=0.0):
        raise KeyboardInterrupt
    with exclusive(opened(tmp_path), timeout_s=0.0):
        pass
