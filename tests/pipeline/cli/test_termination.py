"""SIGTERM, sent to processes of their own."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.cli import termination
from tests.pipeline.cli.processes import script

# A run that sends itself SIGTERM and then does what the second argument says.
RUN = """
import ctypes, os, signal, sys, threading, time
from pipeline.cli import termination
from pipeline.cli.main import main
termination.GRACE_S = 1.0

def trains(config, *, run_id, observer):
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        time.sleep(0.01)

def swallows(config, *, run_id, observer):
    try:
        trains(config, run_id=run_id, observer=observer)
    except BaseException:
        time.sleep(60)

def leaves_a_thread(config, *, run_id, observer):
    threading.Thread(target=time.sleep, args=(60,)).start()
    trains(config, run_id=run_id, observer=observer)

def waits_in_c(config, *, run_id, observer):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    mutex = ctypes.create_string_buffer(64)  # zeros are an open one
    for _ in range(2):  # the second time it waits for itself, and no signal wakes it
        ctypes.CDLL(None).pthread_mutex_lock(mutex)

def waits_after_python(config, *, run_id, observer):
    libc = ctypes.CDLL(None)
    libc.on_exit(libc.pause, None)  # as a destructor of a C++ library that waits for its threads
    trains(config, run_id=run_id, observer=observer)

sys.exit(main(["run", "--pipeline-root", sys.argv[1], "--json"], run=globals()[sys.argv[2]]))
"""


def terminated(root: Path, what: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(seconds, the process)"""
    start = time.monotonic()
    done = script(RUN, str(root / "root"), what)
    return time.monotonic() - start, done


def test_a_terminated_run_says_so_in_one_line_and_ends_with_143(tmp_path):
    _, done = terminated(tmp_path, "trains")
    line = "terminated; the same command goes on from what is finished"
    assert (done.returncode, done.stderr) == (143, f"tfx-mnist: {line}\n")
    result = json.loads(done.stdout)
    assert (result["outcome"], result["error"]) == ("failed", line)


@pytest.mark.parametrize(
    "what", ["swallows", "leaves_a_thread", "waits_in_c", "waits_after_python"]
)
def test_what_does_not_end_by_itself_is_ended_after_the_grace(tmp_path, what):
    seconds, done = terminated(tmp_path, what)
    assert done.returncode == 143
    assert seconds < 10.0


def test_the_grace_is_over_before_container_runtimes_send_sigkill():
    assert termination.GRACE_S < 10.0
