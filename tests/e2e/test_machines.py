"""`tfx-mnist run` and `tfx-mnist worker` as two machines, that find each other over loopback."""

import json
from pathlib import Path

import pytest

from tests import loopback
from tests.e2e.runs import SMALL, run_here
from tests.pipeline.cli.processes import start
from tests.pipeline.thirds import write_thirds

pytestmark = pytest.mark.e2e


def test_a_run_and_a_worker_train_together_and_the_run_releases(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ports = tmp_path / "root", loopback.free_ports(2)
    words = ["--dataset", write_thirds(tmp_path / "thirds"), *SMALL, "--set", "training.epochs=2"]
    of_chief, of_worker = (loopback.tf_config(ports, index) for index in (0, 1))
    monkeypatch.setenv("TF_CONFIG", of_chief)
    waiting = ["worker", "--pipeline-root", str(root), "--json"]
    with start(waiting, {"TF_CONFIG": of_worker}) as worker:
        try:
            code, result = run_here(capfd, root, *words)
            assert (code, result["outcome"]) == (0, "released"), result
            out, err = worker.communicate(timeout=300)
            assert worker.returncode == 0, out + err
            assert json.loads(out) == {"worker": 1, "workers": 2, "error": None}
            assert "  epoch 2/2, eval accuracy 0." in err or "  epoch 2/2, eval accuracy 1." in err
        finally:
            worker.kill()
