"""Each of two machines that train together is killed, and returns."""

import time
from collections.abc import Callable
from subprocess import Popen

import pytest

from tests.trainer.machines import Machines, assert_close, settings, trained_alone
from tests.trainer.trainings import Training

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def alone(prepared, tmp_path_factory) -> Training:
    return trained_alone(prepared, tmp_path_factory.mktemp("alone"))


def kill_when(true: Callable[[], object], process: Popen, chief: Popen, machines: Machines) -> None:
    """Kills a machine as soon as something is true."""
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end, machines.log(0)[-3000:]
        assert chief.poll() is None, machines.log(0)[-3000:]
        time.sleep(0.001)
    process.kill()
    process.wait()


def test_a_machine_that_is_killed_and_returns_does_not_lose_the_run_and_nor_does_the_chief(
    prepared, alone, tmp_path
):
    training = Training(prepared, tmp_path, **settings(batch=8))
    machines = Machines(training, tmp_path)
    chief, worker = machines.start_chief(), machines.start_worker()
    kill_when(lambda: [*training.checkpoints.glob("*/*.checkpoint")], worker, chief, machines)
    worker = machines.start_worker()
    kill_when(training.exported.exists, chief, chief, machines)  # while it exports
    log = machines.log(0)
    assert "resumed after epoch" in log
    machines.end(machines.start_chief(), worker)
    assert "resumed after epoch 8" in machines.log(0).removeprefix(log)
    assert_close(training, alone)
