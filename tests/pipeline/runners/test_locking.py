"""One run at a time on a pipeline root."""

import shutil
from pathlib import Path

import pytest

from pipeline.result import ExitCode
from pipeline.runners import locking
from pipeline.runners.failures import CannotStart
from pipeline.runners.locking import locked, removed
from tests.trainer.host.test_locks import held
from trainer.host.locks import lock_file

# Holds the lock of the directory that it is given, until its standard input ends.
HOLD = """
import pathlib, sys
from pipeline.runners.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
# Says "held" where the file that it is given is locked, and waits for its input to end.
IN_USE = """
import os, sys
from trainer.host.locks import AlreadyLocked, exclusive
try:
    with exclusive(os.open(sys.argv[1], os.O_RDWR), timeout_s=0.0):
        print("free", flush=True)
except AlreadyLocked:
    print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "some" / "root"


def test_a_second_run_on_one_root_ends_at_once(root: Path) -> None:
    with held(root, HOLD) as holder:
        with pytest.raises(CannotStart) as refused, locked(root):
            pass
        assert holder.poll() is None  # it did not wait for the first one to end
    assert refused.value.exit_code == 1
    assert str(refused.value) == (
        f"another run is at work in {root}: wait for it, or give this one its own --pipeline-root"
    )
    assert [path.name for path in root.iterdir()] == [".run.lock"]


def test_a_run_of_another_machine_is_kept_off_as_well(root: Path) -> None:
    """NFS and FUSE share the locks of files between machines, and not those of directories."""
    with locked(root), held(root / ".run.lock", IN_USE):
        pass


def test_what_would_block_within_a_run_is_not_taken_for_another_run(root: Path) -> None:
    with pytest.raises(BlockingIOError, match="a full pipe"), locked(root):
        raise BlockingIOError("a full pipe")


def test_a_run_that_cannot_start_leaves_nothing_and_the_next_one_can(root: Path) -> None:
    with pytest.raises(CannotStart), locked(root):
        raise CannotStart("no data", ExitCode.USAGE)
    assert list(root.iterdir()) == []
    with locked(root):
        pass


def test_a_run_that_cannot_start_says_so_also_where_the_root_is_gone(root: Path) -> None:
    def plan() -> None:
        shutil.rmtree(root)
        raise CannotStart("no data", ExitCode.USAGE)

    with pytest.raises(CannotStart), locked(root):
        plan()


def test_the_lock_of_a_file_that_was_removed_meanwhile_is_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened_too_early(path: Path) -> int:
        descriptor = lock_file(path)
        path.unlink()
        return descriptor

    monkeypatch.setattr(locking, "lock_file", opened_too_early)
    with pytest.raises(CannotStart, match="another run is at work"), locked(root):
        pass


def test_a_root_of_which_the_system_says_nothing_counts_as_there(tmp_path: Path) -> None:
    assert removed(tmp_path / ("x" * 300)) is None  # File name too long
