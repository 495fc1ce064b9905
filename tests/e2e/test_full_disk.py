"""A whole run on a disk that fills up: a small one of its own, in the machine's memory."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.runs import RUN
from tests.limits import on_a_small_disk

pytestmark = pytest.mark.e2e


def test_a_pipeline_root_that_is_full_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    command = [arg for arg in RUN if arg != "--json"]
    done = subprocess.run(
        # Not enough for the database of ML Metadata.
        on_a_small_disk(tmp_path, "300k", [*command, "--pipeline-root", f"{tmp_path}/root"]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert f"no space left on device: free some for the pipeline root {tmp_path}/root and " in line
    assert "; the same command goes on from what is finished" in line
