"""`tfx-mnist run` and `tfx-mnist worker` as two machines, that find each other over loopback."""

import json
from pathlib import Path

import pytest

from tests import loopback
from tests.e2e.runs import SMALL
from tests.pipeline.cli.processes import start
from tests.pipeline.thirds import write_thirds

pytestmark = pytest.mark.e2e


def test_a_run_and_a_worker_train_together_and_the_run_releases(tmp_path: Path) -> None:
    everywhere = ["--pipeline-root", str(tmp_path / "root"), "--json"]
    run = ["run", "--dataset", write_thirds(tmp_path / "thirds"), *everywhere, *SMALL]
    run += ["--set", "training.epochs=2"]
    ports = loopback.free_ports(2)
    of_chief, of_worker = ({"TF_CONFIG": loopback.tf_config(ports, index)} for index in (0, 1))
    with start(["worker", *everywhere], of_worker) as worker, start(run, of_chief) as chief:
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
