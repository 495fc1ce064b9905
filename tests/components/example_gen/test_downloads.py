"""Directories of killed processes go, those of living ones stay."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.example_gen.downloads import remove_abandoned, scratch_in
from tests.limits import ROOT

# Holds a scratch directory with something in it until its stdin ends or it is killed.
HOLDER = """
import os, sys
from pathlib import Path
from components.example_gen.downloads import scratch_in
os.umask(int(sys.argv[2], 8))
with scratch_in(Path(sys.argv[1])) as folder:
    (folder / "some").mkdir()
    (folder / "some" / "thing").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_holder(parent: Path, umask: int = 0o022) -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent), oct(umask)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    holder, folder = start_holder(tmp_path)
    holder.kill()
    holder.communicate()
    assert (folder / "some" / "thing").exists()
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_holds_stays(tmp_path: Path) -> None:
    holder, folder = start_holder(tmp_path)
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_many_makers_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    def make(number: int) -> bool:
        with scratch_in(tmp_path) as folder:
            (folder / str(number)).touch()
            remove_abandoned(tmp_path)
            return (folder / str(number)).exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(400)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_directories_of_the_prefix_goes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / ".tfx-mnist-downloading-link").symlink_to("mine")
    (tmp_path / ".tfx-mnist-downloading-file").touch()
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine",
        ".tfx-mnist-downloading-link",
        ".tfx-mnist-downloading-file",
    }


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_the_mode_is_what_the_umask_says(umask: int, mode: int, tmp_path: Path) -> None:
    holder, folder = start_holder(tmp_path, umask)
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    holder.communicate()
