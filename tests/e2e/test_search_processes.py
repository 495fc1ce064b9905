"""A search by a worker that is started by hand, as part of a run, which ends after it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from pipeline.runners import local
from tests.loopback import free_ports
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import short_run, write_thirds
from tests.waiting import wait_until
from trainer.training_process import TrainingFailed
from trainer.tuning.processes import ORACLE_IP, ORACLE_PORT, TUNER_ID
from trainer.tuning.settings import TuningConfig


def start_worker(searches: Path) -> subprocess.Popen[bytes]:
    """Of the search whose job file comes up."""
    wait_until(lambda: list(searches.glob("*/job.json")), timeout_s=1800)
    (job,) = searches.glob("*/job.json")
    command = [sys.executable, "-m", "pipeline.cli", "worker", "--search", str(job)]
    return subprocess.Popen(command, env={**os.environ, TUNER_ID: "tuner0"})


@pytest.mark.e2e
def test_a_worker_that_is_started_by_hand_searches(tmp_path, monkeypatch):
    # Neither a trial nor what follows: another process does not see what is patched in this one.
    monkeypatch.setattr("trainer.tuning.search.Search._train", lambda *_, **__: 1 / 0)
    refuse = mock.Mock(side_effect=TrainingFailed("none"))
    monkeypatch.setattr("trainer.training_process.training_process", refuse)
    (port,) = free_ports(1)
    part = {TUNER_ID: "chief", ORACLE_IP: "127.0.0.1", ORACLE_PORT: str(port)}
    for name, value in part.items():
        monkeypatch.setenv(name, value)
    tuning = TuningConfig(enabled=True, max_trials=2)
    config = short_run(write_thirds(tmp_path / "thirds"), tmp_path / "root", tuning=tuning)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(start_worker, tmp_path / "root" / "tuning")
        done = local.run(config, run_id="run-1", observer=Watch())
    assert started.result().wait(timeout=300) == 0
    assert [trial.status for trial in done.tuning.trials] == ["completed"] * 2
    assert done.error == "Trainer: none"  # tests/e2e/test_tuning.py trains with what was found
