"""A whole run whose Beam pipelines are executed elsewhere: the path that clusters take.

`tests/pipeline/test_beam_runner.py` has the processes that we start ourselves.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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


def test_workers_in_processes_of_their_own_behind_a_job_service(tmp_path: Path):
    # What Flink and Spark are to Beam: a job service, and workers that they are told of.
    jobs = "apache_beam.runners.portability.local_job_service_main"
    pool = "apache_beam.runners.worker.worker_pool_main"
    with (
        service(jobs, "--port", tmp_path / "jobs.log") as job_endpoint,
        service(pool, "--service_port", tmp_path / "pool.log") as workers,
    ):
        config = RunConfig(
            dataset=write_thirds(tmp_path / "thirds"),
            pipeline_root=str(tmp_path / "root"),
            beam_args=(
                *("--runner=PortableRunner", f"--job_endpoint={job_endpoint}"),
                *("--environment_type=EXTERNAL", f"--environment_config={workers}"),
            ),
            training=HParams(epochs=1, per_replica_batch=32, max_shift=0),
            gate=GateConfig(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0),
            data_gate=DataGateConfig(max_train_test_overlap=0.1),
        )
        released = local.run(config, run_id="run-1", observer=Watch())
    assert (released.outcome, released.error) == (result.RELEASED, None)
    assert released.evidence.overall.rows == 60
    # One job for each component with a Beam pipeline, each done by a worker of the pool.
    assert (tmp_path / "jobs.log").read_text().count("with state DONE") >= 4
    assert "Starting worker with command" in (tmp_path / "pool.log").read_text()
