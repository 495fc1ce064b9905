"""A chain of real processes, of which the one in the middle is killed."""

import os
import signal
import subprocess
import sys

import pytest

PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE).wait()
"""
CHILD = """
import ctypes, os, time
from trainer.tied import end_with_parent
end_with_parent(3)
print(os.getpid(), flush=True)
"""
WAITS = {
    "in Python": "time.sleep(600)",
    # As TensorFlow does while it waits for the other machines.
    "in C, holding the interpreter's lock": "ctypes.PyDLL(None).sleep(600)",
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_a_process_ends_with_the_one_that_started_it(waits):
    command = [sys.executable, "-c", PARENT, CHILD + waits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        try:
            parent.communicate(timeout=20)  # until nobody holds the other end any more
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            pytest.fail("it outlives the one that started it")
