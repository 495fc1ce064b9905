"""Runs whose Beam pipelines are executed in other processes, and what they do when one is killed.

`tests/pipeline/test_beam_runner.py` has the smaller tests of the processes that we start ourselves.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
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
from tests.loopback import free_ports
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import write_thirds
from trainer.hparams import HParams

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

START_S = 300


@contextlib.contextmanager
def service(module: str, option: str, log: Path) -> Iterator[str]:
    """Runs a server of Beam's own as a process; gives its address once it answers."""
    (port,) = free_ports(1)
    # A worker pool starts its workers by the name `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", module, option, str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_S
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield f"localhost:{port}"
        finally:
            os.killpg(process.pid, 15)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def small_config(folder: Path, *beam_args: str) -> RunConfig:
    return RunConfig(
        dataset=write_thirds(folder / "thirds"),
        pipeline_root=str(folder / "root"),
        beam_args=beam_args,
        training=HParams(epochs=1, per_replica_batch=32, max_shift=0),
        gate=GateConfig(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0),
        data_gate=DataGateConfig(max_train_test_overlap=0.1),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("job service")


@pytest.fixture(scope="module")
def released(folder: Path) -> result.RunResult:
    """A run on what Flink and Spark are to Beam: a job service, and workers it is told of."""
    jobs = "apache_beam.runners.portability.local_job_service_main"
    pool = "apache_beam.runners.worker.worker_pool_main"
    with (
        service(jobs, "--port", folder / "jobs.log") as job_endpoint,
        service(pool, "--service_port", folder / "pool.log") as workers,
    ):
        config = small_config(
            folder,
            *("--runner=PortableRunner", f"--job_endpoint={job_endpoint}"),
            *("--environment_type=EXTERNAL", f"--environment_config={workers}"),
        )
        return local.run(config, run_id="run-1", observer=Watch())


def test_workers_in_processes_of_their_own_behind_a_job_service(folder, released):
    assert (released.outcome, released.error) == (result.RELEASED, None)
    assert released.evidence.overall.rows == 60
    # One job for each component with a Beam pipeline, each done by a worker of the pool.
    assert (folder / "jobs.log").read_text().count("with state DONE") >= 4
    assert "Starting worker with command" in (folder / "pool.log").read_text()


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
def test_a_killed_worker_ends_the_run_and_leaves_no_half_data_set(tmp_path: Path, released):
    config = small_config(
        tmp_path, "--direct_num_workers=2", "--direct_running_mode=multi_processing"
    )
    lost = local.run(config, run_id="run-1", observer=Killer("ExampleGen"))
    assert lost.outcome == result.FAILED
    assert "ExampleGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert [*(tmp_path / "root").rglob("*.gz")] == []
    # The same command makes all of the data, and loses a worker in the component after it.
    lost = local.run(config, run_id="run-2", observer=Killer("StatisticsGen"))
    assert "StatisticsGen: a worker process of Beam was killed by SIGKILL" in str(lost.error)
    assert lost.dataset["splits"] == released.dataset["splits"]
