"""One run at a time on a pipeline root."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runners.failures import CannotStart
from pipeline.runners.locking import locked

# Holds the lock of the directory that it is given, until its standard input ends.
HOLD = """
import pathlib, sys
from pipeline.runners.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "some" / "root"


@contextlib.contextmanager
def held(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.stdin.close()


def test_a_second_run_on_one_root_ends_at_once(root: Path) -> None:
    with held(root) as holder:
        with pytest.raises(CannotStart) as refused, locked(root):
            pass
        assert holder.poll() is None  # it did not wait for the first one to end
    assert refused.value.exit_code == 1
    assert refused.value.message == (
        f"another run is at work in {root}: wait for it, or give this one its own --pipeline-root"
    )
    assert list(root.iterdir()) == []


def test_what_would_block_within_a_run_is_not_taken_for_another_run(root: Path) -> None:
    with pytest.raises(BlockingIOError, match="a full pipe"), locked(root):
        raise BlockingIOError("a full pipe")
