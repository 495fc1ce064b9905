"""A whole run on a disk that fills up: a small one of its own, in the machine's memory."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.runs import RUN, SMALL
from tests.limits import on_a_small_disk
from tests.pipeline.thirds import write_thirds

pytestmark = pytest.mark.e2e

# Not enough for the database of ML Metadata, nor for a model.
SIZE = "300k"


def _failed_line(folder: Path, *arguments: str) -> str:
    """The line of a run that has a small disk in the folder."""
    command = [arg for arg in RUN if arg != "--json"]
    done = subprocess.run(
        on_a_small_disk(folder, SIZE, [*command, *arguments]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    return line


def test_a_pipeline_root_that_is_full_is_one_line_with_the_remedy(tmp_path):
    line = _failed_line(tmp_path, "--pipeline-root", f"{tmp_path}/root")
    assert f"no space left on device: free some for the pipeline root {tmp_path}/root and " in line
    assert "; the same command goes on from what is finished" in line


def test_a_serving_directory_that_is_full_is_named(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    words = ("--pipeline-root", f"{tmp_path}/root", "--serving-dir", str(served))
    data = ("--dataset", write_thirds(tmp_path / "thirds"), "--set", "training.epochs=1", *SMALL)
    line = _failed_line(served, *words, *data)
    assert line.startswith("failed: Pusher: cannot publish ")
    assert f" to {served}: No space left on device" in line
    assert line.endswith("free space on that disk, and publish again; no version was added")
