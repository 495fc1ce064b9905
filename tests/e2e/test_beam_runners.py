"""Runs whose Beam pipelines are executed in other processes, and what they do when one is killed.

`tests/pipeline/test_beam_runner.py` has the smaller tests of the processes that we start ourselves.
Flink takes part in `make e2e-flink` and `.ci/run` alone, Spark in `make e2e-spark`.
"""

import contextlib
import dataclasses
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline import result
from pipeline.config import RunConfig
from pipeline.runners import local
from tests.e2e.flink_cluster import Flink
from tests.e2e.job_services import START_S, Processes, python_service
from tests.e2e.spark_cluster import AGAIN, Spark
from tests.e2e.spark_cluster import JOB_DONE as DONE_ON_SPARK
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import TRAINING, short_run, write_thirds

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOB_DONE = ("with state DONE", "Execution finished in", DONE_ON_SPARK)  # Beam's service, Flink's
IN_TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    return write_thirds(tmp_path_factory.mktemp("data") / "thirds")


def small_config(dataset: str, root: Path, *beam_args: str) -> RunConfig:
    training = dataclasses.replace(TRAINING, deterministic=True)
    return short_run(dataset, root, beam_args=beam_args, training=training)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, dataset) -> result.RunResult:
    """The run in one process."""
    config = small_config(dataset, tmp_path_factory.mktemp("expected"))
    released = local.run(config, run_id="run-1", observer=Watch())
    assert (released.outcome, released.error) == (result.RELEASED, None)
    return released


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with contextlib.closing(Processes(tmp_path)) as started:
        yield started


def flink(processes: Processes, restarts: str = "none") -> Flink:
    return Flink(processes, jars("flink"), restarts)


def spark(processes: Processes) -> Spark:
    return Spark(processes, jars("spark"))


def jars(engine: str) -> Path:
    if "TFX_MNIST_JARS" not in os.environ:
        pytest.skip(f"make e2e-{engine}")
    return Path(os.environ["TFX_MNIST_JARS"])


def assert_released_as_in_one_process(run: result.RunResult, expected: result.RunResult) -> None:
    assert (run.outcome, run.error) == (result.RELEASED, None)
    assert run.evidence.overall.rows == 60
    assert run.dataset == expected.dataset
    assert run.evidence == expected.evidence
    assert judged(run) == judged(expected)


def assert_done_by_the_service(processes: Processes) -> None:
    """One job for each component with a Beam pipeline, each done by a worker of the pool."""
    assert sum(map(processes.log("jobs").read_text().count, JOB_DONE)) >= 4
    assert "Starting worker with command" in processes.log("pool").read_text()


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(python_service, id="python"),
        pytest.param(lambda processes: flink(processes).beam_args, id="flink"),
        pytest.param(lambda processes: spark(processes).beam_args, id="spark"),
    ],
)
def test_behind_a_job_service_the_results_are_those_of_one_process(
    tmp_path: Path, dataset, expected, processes, start
):
    beam_args = start(processes)
    config = small_config(dataset, tmp_path / "root", *beam_args)
    released = local.run(config, run_id="run-1", observer=Watch())
    assert_released_as_in_one_process(released, expected)
    assert_done_by_the_service(processes)


def judged(run: result.RunResult) -> list[tuple[str, bool]]:
    return [(check.name, check.passed) for check in run.checks]


class Killer(Watch):
    """Kills a worker in each of some components, as soon as `kill` finds one at work."""

    def __init__(self, kill: Callable[[], bool], *components: str) -> None:
        super().__init__()
        self.kill, self.components = kill, components
        self.threads: list[threading.Thread] = []
        self.killed = 0

    def component_started(self, name: str) -> None:
        super().component_started(name)
        if name in self.components:
            self.threads.append(threading.Thread(target=self.watch, daemon=True))
            self.threads[-1].start()

    def watch(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.kill():
                self.killed += 1
                return
            time.sleep(0.01)

    def ended(self) -> int:
        """Waits until all is done that belongs to the kills; gives their number."""
        for thread in self.threads:
            thread.join(START_S)
        return self.killed


def kill_worker_process() -> bool:
    """Kills one of Beam's processes that is connected and so at work."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "beam_worker" in str(child.cmdline()) and child.net_connections():
                child.send_signal(signal.SIGKILL)
                return True
    return False


# In Beam's threads, which read from the worker.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_ends_the_run_and_leaves_no_half_data_set(tmp_path, dataset, expected):
    config = small_config(dataset, tmp_path, *IN_TWO_PROCESSES)
    lost = local.run(config, run_id="run-1", observer=Killer(kill_worker_process, "ExampleGen"))
    assert lost.outcome == result.FAILED
    assert "ExampleGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert [*tmp_path.rglob("*.gz")] == []
    # The same command makes all of the data, and loses a worker in the component after it.
    lost = local.run(config, run_id="run-2", observer=Killer(kill_worker_process, "StatisticsGen"))
    assert "StatisticsGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert lost.dataset["splits"] == expected.dataset["splits"]


def test_a_killed_worker_of_flink_ends_the_run_and_leaves_no_half_data_set(
    tmp_path, dataset, expected, processes
):
    cluster = flink(processes)
    root = tmp_path / "root"
    config = small_config(dataset, root, *cluster.beam_args)
    killer = Killer(cluster.replace_busy_worker, "ExampleGen")
    lost = local.run(config, run_id="run-1", observer=killer)
    assert killer.ended() == 1
    assert lost.outcome == result.FAILED
    assert str(lost.error).startswith("ExampleGen: ")
    assert len(str(lost.error).splitlines()) == 1
    assert [*root.rglob("*.gz")] == []
    # The same command makes all of the data, and loses a TaskManager in the component after it.
    killer = Killer(cluster.replace_busy_worker, "StatisticsGen")
    lost = local.run(config, run_id="run-2", observer=killer)
    assert killer.ended() == 1
    assert lost.outcome == result.FAILED
    assert str(lost.error).startswith("StatisticsGen: ")
    assert len(str(lost.error).splitlines()) == 1
    assert lost.dataset["splits"] == expected.dataset["splits"]


def test_where_flink_restarts_jobs_killed_workers_change_nothing(
    tmp_path, dataset, expected, processes
):
    cluster = flink(processes, restarts="fixed-delay")
    config = small_config(dataset, tmp_path / "root", *cluster.beam_args)
    killer = Killer(cluster.replace_busy_worker, "ExampleGen", "StatisticsGen")
    released = local.run(config, run_id="run-1", observer=killer)
    assert_released_as_in_one_process(released, expected)
    assert_done_by_the_service(processes)
    assert killer.ended() == 2
    # Each kill hit a TaskManager that was at work.
    log = processes.log("master").read_text()
    assert len(set(re.findall(r"Job (\S+) .* from state RUNNING to RESTARTING", log))) >= 2


def test_killed_workers_of_spark_change_nothing(tmp_path, dataset, expected, processes):
    cluster = spark(processes)
    config = small_config(dataset, tmp_path / "root", *cluster.beam_args)
    killer = Killer(cluster.replace_busy_worker, "ExampleGen", "StatisticsGen")
    released = local.run(config, run_id="run-1", observer=killer)
    assert_released_as_in_one_process(released, expected)
    assert killer.ended() == 2
    # Each kill lost work, which was done again.
    assert [bool(AGAIN.search(job)) for job in cluster.jobs()[:2]] == [True, True]
