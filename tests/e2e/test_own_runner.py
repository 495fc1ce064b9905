"""The script of docs/architecture.md: the pipeline from Python, by TFX's own runner."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.serving_dir import find, verify
from tests.pipeline.runners.kubeflow.backend import ANY_MODEL
from tests.pipeline.thirds import write_thirds

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_tfxs_own_runner_releases_a_model_and_once(tmp_path: Path) -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8").partition("\n## From Python\n")[2]
    match = re.search(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert match
    small = {"dataset": write_thirds(tmp_path / "thirds"), **ANY_MODEL}
    script = match[1].replace('"dataset": "mnist_sample"', repr(small)[1:-1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script * 2], cwd=tmp_path, env=environment, check=True)
    (served,) = (tmp_path / "my_root" / "serving").iterdir()
    version = find(served)
    assert (version.number, verify(version)) == (1, ())
