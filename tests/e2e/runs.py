"""A whole run as a user starts it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.waiting import wait_until

# Of a run on `tests.pipeline.thirds`, for tests in which what comes out need not be good.
SMALL = [
    *("--set", "training.per_replica_batch=16"),
    *("--set", "gate.floor=0", "--set", "gate.class_floor=0"),
    *("--set", "gate.max_cross_entropy=100", "--set", "gate.max_drop=1"),
    *("--set", "data_gate.max_train_test_overlap=0.1"),  # 1 of 60 is 0.017
    *("--reason", "a test of something else"),
]
# Of every run: the machine may be busy.
PATIENT = ("--set", "serving.max_p99_latency_ms=10000")
RUN = [sys.executable, "-m", "pipeline.cli", "run", "--json", *PATIENT]


def run(root: Path, *arguments: str) -> tuple[int, dict]:
    """(exit code, the one JSON object on stdout) of a whole run."""
    done = subprocess.run(
        [*RUN, "--pipeline-root", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def stop_when(there: Callable[[], object], sent: signal.Signals, root: Path, *words: str) -> int:
    """Sends a run that signal as soon as something is there, and returns its exit code."""
    command = [*RUN, "--pipeline-root", str(root), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(there, process, timeout_s=1800)
        process.send_signal(sent)
        return process.wait(timeout=300)


def tfx_mnist(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    """(exit code, the one JSON object on stdout) of a command in this process."""
    code = main([*words, "--json"])
    (line,) = capfd.readouterr().out.splitlines()
    return code, json.loads(line)


def run_here(capfd: pytest.CaptureFixture[str], root: Path, *arguments: str) -> tuple[int, dict]:
    """The same as `run` in this process, which imports the libraries once for all of its runs."""
    return tfx_mnist(capfd, "run", *PATIENT, "--pipeline-root", str(root), *arguments)
