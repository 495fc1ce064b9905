"""The process of a worker; test_processes.py lets it train."""

import os
import subprocess
import time
from pathlib import Path

from trainer.host.children import python_child


def test_a_terminated_worker_says_so_in_one_line_and_ends_with_143(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    os.mkfifo(job)
    child = python_child("trainer.tuning.worker", str(job))
    with subprocess.Popen(
        child.command, env=child.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        reading = _opened_by_its_reader(job)
        worker.terminate()
        assert worker.wait(60) == 143
        os.close(reading)
        said = worker.stderr.read().decode()
    assert said.endswith("terminated; the same command goes on with the trials that are left\n")


def _opened_by_its_reader(fifo: Path) -> int:
    """The descriptor to write to a FIFO, once somebody reads it."""
    end = time.monotonic() + 120
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
