"""Downloads of killed processes go, those of living ones stay."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from components.example_gen.downloads import downloads_in
from tests.limits import ROOT

# Holds a directory with something in it until its stdin ends or it is killed.
HOLDER = """
import sys
from pathlib import Path
from components.example_gen.downloads import downloads_in
with downloads_in(Path(sys.argv[1])) as folder:
    Path(folder, "some").mkdir()
    Path(folder, "some", "thing").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_holder(data_dir: Path) -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir)],
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
    with downloads_in(tmp_path):
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_holds_stays(tmp_path: Path) -> None:
    holder, folder = start_holder(tmp_path)
    with downloads_in(tmp_path):
        assert (folder / "some" / "thing").exists()
    assert list(tmp_path.iterdir()) == [folder]
    holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    def make(number: int) -> bool:
        with downloads_in(tmp_path) as folder:
            mine = Path(folder, str(number))
            mine.touch()
            with downloads_in(tmp_path):
                return mine.exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(400)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_directories_of_the_prefix_goes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / ".tfx-mnist-downloading-link").symlink_to("mine")
    (tmp_path / ".tfx-mnist-downloading-file").touch()
    with downloads_in(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine",
        ".tfx-mnist-downloading-link",
        ".tfx-mnist-downloading-file",
    }
