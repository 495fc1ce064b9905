"""A search in several processes, as part of a run, which ends after it."""

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from pipeline.config import RunConfig
from pipeline.result import RunResult
from pipeline.runners import local
from tests.loopback import free_ports
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import short_run, write_thirds
from tests.waiting import wait_until
from trainer.training_process import TrainingFailed
from trainer.tuning.processes import ORACLE_IP, ORACLE_PORT, TUNER_ID
from trainer.tuning.settings import TuningConfig

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Of two runs: what the second one does before its search is taken from the cache."""
    folder = tmp_path_factory.mktemp("search")
    tuning = TuningConfig(enabled=True, max_trials=3)
    return short_run(write_thirds(folder / "thirds"), folder / "root", tuning=tuning)


@pytest.fixture(autouse=True)
def no_training_here(monkeypatch) -> None:
    """Neither a trial nor what follows: other processes do not see what is patched in this one."""
    monkeypatch.setattr("trainer.tuning.search.Search._train", lambda *_, **__: 1 / 0)
    refuse = mock.Mock(side_effect=TrainingFailed("none"))
    monkeypatch.setattr("trainer.training_process.training_process", refuse)


def assert_searched(done: RunResult) -> None:
    assert [trial.status for trial in done.tuning.trials] == ["completed"] * 3
    assert done.error == "Trainer: none"  # tests/e2e/test_tuning.py trains with what was found


def start_worker(searches: Path) -> subprocess.Popen[bytes]:
    """Of the search whose job file comes up."""
    wait_until(lambda: list(searches.glob("*/job.json")), timeout_s=1800)
    (job,) = searches.glob("*/job.json")
    command = [sys.executable, "-m", "pipeline.cli", "worker", "--search", str(job)]
    return subprocess.Popen(command, env={**os.environ, TUNER_ID: "tuner0"})


def test_two_processes_of_this_machine_search(config):
    tuning = dataclasses.replace(config.tuning, parallel_trials=2)
    done = local.run(dataclasses.replace(config, tuning=tuning), run_id="run-1", observer=Watch())
    assert_searched(done)


def test_a_worker_that_is_started_by_hand_searches(config, monkeypatch):
    (port,) = free_ports(1)
    part = {TUNER_ID: "chief", ORACLE_IP: "127.0.0.1", ORACLE_PORT: str(port)}
    for name, value in part.items():
        monkeypatch.setenv(name, value)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(start_worker, Path(config.pipeline_root) / "tuning")
        other = dataclasses.replace(config, seed=1)
        done = local.run(other, run_id="run-2", observer=Watch())
    assert started.result().wait(timeout=300) == 0
    assert_searched(done)
