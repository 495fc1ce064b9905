"""Whole runs with `--deterministic`: the same bits each time, also after a kill."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.runs import RUN, run
from tests.trainer.trainings import assert_same, exported_weights

pytestmark = pytest.mark.e2e

DETERMINISTIC = ("--deterministic", "--seed", "7")


def weights(result: dict) -> dict[str, np.ndarray]:
    """Every variable of the released model."""
    return exported_weights(Path(result["release"]["path"]))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The result of a run that nobody stopped."""
    code, result = run(tmp_path_factory.mktemp("unbroken"), *DETERMINISTIC)
    assert (code, result["outcome"]) == (0, "released")
    return result


def test_two_deterministic_runs_of_one_seed_release_the_same_bits(unbroken, tmp_path):
    _, result = run(tmp_path, *DETERMINISTIC)
    assert_same(weights(result), weights(unbroken))
    assert result["metrics"] == unbroken["metrics"]


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)]
)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(unbroken, tmp_path, sent, code):
    command = [*RUN, "--pipeline-root", str(tmp_path), *DETERMINISTIC]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob("checkpoints/*/000002.checkpoint")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(sent)
        assert process.wait(timeout=10.0) == code
    _, result = run(tmp_path, *DETERMINISTIC)
    assert result["outcome"] == "released"
    assert "ExampleGen" in result["cached"]
    assert "Trainer" not in result["cached"]
    log = (tmp_path / "logs" / f"{result['run_id']}.log").read_text()
    assert "resumed after epoch" in log
    assert_same(weights(result), weights(unbroken))
    assert not (tmp_path / "checkpoints").exists()
