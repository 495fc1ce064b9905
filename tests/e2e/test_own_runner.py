"""The script of docs/architecture.md: the pipeline from Python, by TFX's own runner."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.serving_dir import find, verify

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_tfxs_own_runner_releases_a_model_and_once(tmp_path: Path) -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8").partition("\n## From Python\n")[2]
    match = re.search(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert match
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", match[1]], cwd=tmp_path, env=environment, check=True)
        version = find(tmp_path / "my_root/serving/mnist_sample")
        assert (version.number, verify(version)) == (1, ())
