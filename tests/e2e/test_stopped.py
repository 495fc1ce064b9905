"""Whole runs with `--deterministic`: the same bits each time, also after a kill."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from components.serving_dir import newest_valid
from tests.e2e.runs import SMALL, run_here, stop_when
from tests.pipeline.thirds import write_thirds
from tests.trainer.trainings import assert_same, exported_weights, has_checkpoint

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# So many epochs that a signal after one of the first comes in time.
DETERMINISTIC = (*SMALL, "--deterministic", "--seed", "7", "--set", "training.epochs=60")


def released_weights(result: dict) -> dict[str, np.ndarray]:
    """Every variable of the released model."""
    return exported_weights(Path(result["release"]["path"]))


def released_digest(result: dict) -> str:
    version = newest_valid(Path(result["release"]["path"]).parent)
    return version.manifest.model_digest


def resumed_after(log: str) -> int:
    """The epoch after which a run's training went on; 0 where it began."""
    return int((log.partition("resumed after epoch ")[2].split() or ["0"])[0])


def test_a_training_that_was_stopped_twice_goes_on_to_the_bits_of_an_unbroken_one(tmp_path, capfd):
    words = ("--dataset", write_thirds(tmp_path / "thirds"), *DETERMINISTIC)
    code, unbroken = run_here(capfd, tmp_path / "unbroken", *words)
    assert code == 0
    root = tmp_path / "stopped"

    def stop_after(epoch: int, sent: signal.Signals) -> int:
        return stop_when(lambda: has_checkpoint(root / "checkpoints", epoch), sent, root, *words)

    assert stop_after(2, signal.SIGTERM) == 143
    (record,) = (root / "reports").glob("*.json")
    stopped = json.loads(record.read_text())
    assert (stopped["cached"], "Trainer" in stopped["seconds"]) == ([], True)
    assert stop_after(4, signal.SIGKILL) == -signal.SIGKILL
    _, result = run_here(capfd, root, *words)
    assert result["outcome"] == unbroken["outcome"] == "released"
    assert "ExampleGen" in result["cached"]
    assert "Trainer" not in result["cached"]
    logs = [path.read_text() for path in sorted((root / "logs").glob("*.log"))]
    terminated, killed, ended = map(resumed_after, logs)
    assert terminated == 0
    assert killed >= 2
    assert ended >= 4
    assert_same(released_weights(result), released_weights(unbroken))
    assert released_digest(result) == released_digest(unbroken)
    assert result["metrics"] == unbroken["metrics"]
    assert not (root / "checkpoints").exists()
