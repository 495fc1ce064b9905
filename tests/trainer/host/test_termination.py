"""A worker that may end at any moment, in a process of its own; runs: test_ended_runs.py."""

import signal
import subprocess
import sys

import pytest

# What must not go on, not even to a good end.
GOES_ON = """
import os, signal
from trainer.host.termination import end_at_once
end_at_once("go on")
os.kill(os.getpid(), signal.SIGTERM)
"""
WAITS_IN_C = """
import ctypes, os, signal, sys
from trainer.host.termination import end_at_once
end_at_once("go on")
print("ready", flush=True)
mutex = ctypes.create_string_buffer(64)  # zeros are an open one
for _ in range(2):  # the second time it waits for itself, and no signal wakes it
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


def _ended(sent: signal.Signals, **given: object) -> tuple[int, str]:
    """(exit code, stderr) of a process that waits in C code when the signal arrives."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS_IN_C],
        stdout=subprocess.PIPE,
        stderr=given.get("stderr", subprocess.PIPE),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        _, err = process.communicate(timeout=300)
    return process.returncode, err


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [
        (signal.SIGTERM, 143, "terminated; go on\n"),
        (signal.SIGINT, 130, "interrupted; go on\n"),
    ],
)
def test_it_ends_at_once_also_in_c_code(sent: signal.Signals, code: int, line: str) -> None:
    assert _ended(sent) == (code, line)


def test_nothing_goes_on_after_the_signal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GOES_ON], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (143, "terminated; go on\n")


def test_nobody_reads_its_stderr() -> None:
    with open("/dev/full", "w") as full:
        assert _ended(signal.SIGTERM, stderr=full) == (143, None)
