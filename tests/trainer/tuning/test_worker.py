"""`python -m trainer.tuning.worker`, as it is started by hand; test_processes.py lets it train."""

import subprocess
import sys

TERMINATED = """
import os, signal, sys
from trainer.tuning import processes, worker
processes.is_worker = lambda environment: os.kill(os.getpid(), signal.SIGTERM)
worker.main(["job.json"])
"""


def test_a_terminated_worker_says_so_in_one_line_and_ends_with_143():
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 143
    line = "terminated; the same command goes on with the trials that are left\n"
    assert done.stderr.endswith(line)
