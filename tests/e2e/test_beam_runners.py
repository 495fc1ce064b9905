"""Runs whose Beam pipelines are executed in other processes, and what they do when one is killed.

`tests/pipeline/test_beam_runner.py` has the smaller tests of the processes that we start ourselves.
Flink takes part in `make e2e-flink` alone.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.gate.policy import GateConfig
from pipeline import result
from pipeline.config import DataGateConfig, RunConfig
from pipeline.runners import local
from tests.e2e.job_services import START_S, Processes, flink, python_service
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import write_thirds
from trainer.hparams import HParams

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOB_DONE = ("with state DONE", "Execution finished in")  # Beam's service, Flink's
IN_TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    return write_thirds(tmp_path_factory.mktemp("data") / "thirds")


def small_config(dataset: str, root: Path, *beam_args: str) -> RunConfig:
    return RunConfig(
        dataset=dataset,
        pipeline_root=str(root),
        beam_args=beam_args,
        training=HParams(epochs=1, per_replica_batch=32, max_shift=0, deterministic=True),
        gate=GateConfig(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0),
        data_gate=DataGateConfig(max_train_test_overlap=0.1),
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory, dataset) -> result.RunResult:
    """The run in one process."""
    config = small_config(dataset, tmp_path_factory.mktemp("expected"))
    released = local.run(config, run_id="run-1", observer=Watch())
    assert (released.outcome, released.error) == (result.RELEASED, None)
    return released


@pytest.fixture(params=["python", "flink"])
def service(request, tmp_path: Path) -> Iterator[tuple[Processes, tuple[str, ...]]]:
    """A job service and workers that it is told of; Beam's arguments for a run on it."""
    with contextlib.closing(Processes(tmp_path)) as processes:
        if request.param == "python":
            yield processes, python_service(processes)
        elif "TFX_MNIST_FLINK" in os.environ:
            yield processes, flink(processes, Path(os.environ["TFX_MNIST_FLINK"]))
        else:
            pytest.skip("make e2e-flink")


def test_behind_a_job_service_the_results_are_those_of_one_process(
    tmp_path: Path, dataset, expected, service
):
    processes, beam_args = service
    config = small_config(dataset, tmp_path / "root", *beam_args)
    released = local.run(config, run_id="run-1", observer=Watch())
    assert (released.outcome, released.error) == (result.RELEASED, None)
    assert released.evidence.overall.rows == 60
    assert released.dataset == expected.dataset
    assert released.evidence == expected.evidence
    assert judged(released) == judged(expected)
    # One job for each component with a Beam pipeline, each done by a worker of the pool.
    assert sum(map(processes.log("jobs").read_text().count, JOB_DONE)) >= 4
    assert "Starting worker with command" in processes.log("pool").read_text()


def judged(run: result.RunResult) -> list[tuple[str, bool]]:
    return [(check.name, check.passed) for check in run.checks]


class Killer(Watch):
    """Kills one of Beam's workers in a component, as soon as it is connected and so at work."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component

    def component_started(self, name: str) -> None:
        super().component_started(name)
        if name == self.component:
            threading.Thread(target=self.kill, daemon=True).start()

    def kill(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if "sdk_worker_main" in str(child.cmdline()) and child.net_connections():
                        child.send_signal(signal.SIGKILL)
                        return
            time.sleep(0.01)


# In Beam's threads, which read from the worker.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_ends_the_run_and_leaves_no_half_data_set(tmp_path, dataset, expected):
    config = small_config(dataset, tmp_path, *IN_TWO_PROCESSES)
    lost = local.run(config, run_id="run-1", observer=Killer("ExampleGen"))
    assert lost.outcome == result.FAILED
    assert "ExampleGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert [*tmp_path.rglob("*.gz")] == []
    # The same command makes all of the data, and loses a worker in the component after it.
    lost = local.run(config, run_id="run-2", observer=Killer("StatisticsGen"))
    assert "StatisticsGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert lost.dataset["splits"] == expected.dataset["splits"]
