"""`tfx-mnist run` and `tfx-mnist worker` as two machines, that find each other over loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import loopback
from tests.e2e.runs import SMALL
from tests.pipeline.thirds import write_thirds

pytestmark = pytest.mark.e2e


def start(words: list[str], ports: list[int], index: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words, "--json"],
        env={**os.environ, "TF_CONFIG": loopback.tf_config(ports, index)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_and_a_worker_train_together_and_the_run_releases(tmp_path: Path) -> None:
    root = ["--pipeline-root", str(tmp_path / "root")]
    run = ["run", "--dataset", write_thirds(tmp_path / "thirds"), *root, *SMALL]
    run += ["--set", "training.epochs=2"]
    ports = loopback.free_ports(2)
    with start(["worker", *root], ports, 1) as worker, start(run, ports, 0) as chief:
        try:
            out, err = chief.communicate(timeout=1800)
            assert chief.returncode == 0, out + err
            assert json.loads(out)["outcome"] == "released"
            out, err = worker.communicate(timeout=300)
            assert worker.returncode == 0, out + err
            assert json.loads(out) == {"worker": 1, "workers": 2, "error": None}
            assert "  epoch 2/2, eval accuracy 0." in err or "  epoch 2/2, eval accuracy 1." in err
        finally:
            worker.kill()
            chief.kill()
