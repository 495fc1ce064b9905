"""The benchmark of a training's memory takes parts of these tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.idx_folders import write_idx

ROOT = Path(__file__).parents[2]


@pytest.mark.once
def test_another_package_tests_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """IPython, which Keras imports, puts one on the path."""
    mnist = write_idx(tmp_path / "mnist", change_train=lambda *rows: rows)
    written = tmp_path / "written"
    written.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(mnist), "--write", str(written)],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in written.iterdir()} == {"eval", "train", "transform"}
