"""Runs whose Beam pipelines are executed in other processes, and what they do when one is killed.

`tests/pipeline/test_beam_runner.py` has the smaller tests of the processes that we start ourselves.
The cluster is that of `make e2e-flink`.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.gate.policy import GateConfig
from pipeline import result
from pipeline.config import DataGateConfig, RunConfig
from pipeline.runners import local
from tests.e2e.engines.clusters import FLINK, START_S, Cluster
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import write_thirds
from trainer.hparams import HParams

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ENGINES = {"flink": FLINK}
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


@pytest.fixture(scope="module", params=ENGINES)
def cluster(request, tmp_path_factory) -> Iterator[Cluster]:
    if "TFX_MNIST_ENGINES" not in os.environ:
        pytest.skip(f"make e2e-{request.param}")
    home = Path(os.environ["TFX_MNIST_ENGINES"], request.param)
    folder = tmp_path_factory.mktemp("cluster") / request.param
    with contextlib.closing(Cluster(ENGINES[request.param], home, folder)) as cluster:
        yield cluster


def test_a_cluster_gives_the_results_of_one_process(tmp_path: Path, dataset, expected, cluster):
    config = small_config(dataset, tmp_path, *cluster.beam_args)
    released = local.run(config, run_id="run-1", observer=Watch())
    assert (released.outcome, released.error) == (result.RELEASED, None)
    assert released.dataset == expected.dataset
    assert released.evidence == expected.evidence
    assert judged(released) == judged(expected)


def judged(run: result.RunResult) -> list[tuple[str, bool]]:
    return [(check.name, check.passed) for check in run.checks]


class Killer(Watch):
    """Calls `kill` in a component, as soon as one of Beam's workers is connected and so at work."""

    def __init__(self, component: str, kill: Callable[[psutil.Process], None]) -> None:
        super().__init__()
        self._component = component
        self._kill = kill
        self.killed = False

    def component_started(self, name: str) -> None:
        super().component_started(name)
        if name == self._component:
            threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "sdk_worker_main" in str(child.cmdline()) and child.net_connections():
                        self.killed = self._component not in self.finished
                        self._kill(child)
                        return
            time.sleep(0.01)


# In Beam's threads, which read from the worker.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_ends_the_run_and_leaves_no_half_data_set(tmp_path, dataset, expected):
    def killed_in(component: str, run_id: str) -> result.RunResult:
        killer = Killer(component, lambda worker: worker.send_signal(signal.SIGKILL))
        lost = local.run(config, run_id=run_id, observer=killer)
        assert (killer.killed, lost.outcome) == (True, result.FAILED)
        assert f"{component}: a worker process of Beam was killed by SIGKILL" in str(lost.error)
        return lost

    config = small_config(dataset, tmp_path, *IN_TWO_PROCESSES)
    killed_in("ExampleGen", "run-1")
    assert [*tmp_path.rglob("*.gz")] == []
    # The same command makes all of the data, and loses a worker in the component after it.
    lost = killed_in("StatisticsGen", "run-2")
    assert lost.dataset["splits"] == expected.dataset["splits"]
