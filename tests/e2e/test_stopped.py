"""Whole runs with `--deterministic`: the same bits each time, also after a kill."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.runs import RUN, SMALL, run_here
from tests.pipeline.thirds import write_thirds
from tests.trainer.trainings import assert_same, exported_weights, has_checkpoint

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# So many epochs that a signal after one of the first comes in time.
DETERMINISTIC = (*SMALL, "--deterministic", "--seed", "7", "--set", "training.epochs=60")


def weights(result: dict) -> dict[str, np.ndarray]:
    """Every variable of the released model."""
    return exported_weights(Path(result["release"]["path"]))


def stop_after(epoch: int, root: Path, words: tuple[str, ...], sent: signal.Signals) -> int:
    """Sends a run that signal as soon as its training has a checkpoint of that epoch.

    Returns:
      Its exit code.
    """
    command = [*RUN, "--pipeline-root", str(root), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 1800
        while not has_checkpoint(root / "checkpoints", epoch):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(sent)
        return process.wait(timeout=300)


def resumed_after(log: str) -> int:
    """The epoch after which a run's training went on; 0 where it began."""
    return int((log.partition("resumed after epoch ")[2].split() or ["0"])[0])


def test_a_training_that_was_stopped_twice_goes_on_to_the_bits_of_an_unbroken_one(tmp_path, capfd):
    words = ("--dataset", write_thirds(tmp_path / "thirds"), *DETERMINISTIC)
    code, unbroken = run_here(capfd, tmp_path / "unbroken", *words)
    assert code == 0
    root = tmp_path / "stopped"
    assert stop_after(2, root, words, signal.SIGTERM) == 143
    assert stop_after(4, root, words, signal.SIGKILL) == -signal.SIGKILL
    _, result = run_here(capfd, root, *words)
    assert result["outcome"] == unbroken["outcome"] == "released"
    assert "ExampleGen" in result["cached"]
    assert "Trainer" not in result["cached"]
    logs = [path.read_text() for path in sorted((root / "logs").glob("*.log"))]
    terminated, killed, ended = map(resumed_after, logs)
    assert terminated == 0
    assert killed >= 2
    assert ended >= 4
    assert_same(weights(result), weights(unbroken))
    assert result["metrics"] == unbroken["metrics"]
    assert not (root / "checkpoints").exists()
