"""SIGTERM, SIGINT and SIGHUP, sent to processes of their own."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.cli.processes import script
from trainer.host import termination

pytestmark = pytest.mark.once  # what the system sends us, and what we make of it

# A run that does what the second argument says, in which it sends itself the signal that the third
# one names; the fourth is the grace in seconds.
RUN = """
import ctypes, os, signal, sys, threading, time
from pipeline import records
from pipeline.cli.main import main
from pipeline.result import HELD, RELEASED, Release, RunResult, Waiting
from pipeline.runners.failures import CannotStart
from trainer.host import termination
termination.GRACE_S = float(sys.argv[4])
SIGNAL = signal.Signals[sys.argv[3]]
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run behind `nohup`

def trains(config, *, run_id, observer):
    os.kill(os.getpid(), SIGNAL)
    while True:
        time.sleep(0.01)

def swallows(config, *, run_id, observer):
    try:
        trains(config, run_id=run_id, observer=observer)
    except BaseException:
        time.sleep(600)  # longer than the test waits

def turns_it_into_another_error(config, *, run_id, observer, error=ValueError):
    try:
        trains(config, run_id=run_id, observer=observer)
    except BaseException:
        pass
    raise error("swallowed", 2)

def turns_it_into_a_refused_start(config, *, run_id, observer):
    turns_it_into_another_error(config, run_id=run_id, observer=observer, error=CannotStart)

def turns_it_into_an_exit(config, *, run_id, observer):
    turns_it_into_another_error(config, run_id=run_id, observer=observer, error=SystemExit)

def swallows_and_releases(config, *, run_id, observer):
    try:
        trains(config, run_id=run_id, observer=observer)
    except BaseException:
        return RunResult(run_id, RELEASED, release=Release(3, "serving/3"))

def swallows_and_holds(config, *, run_id, observer):
    swallows_and_releases(config, run_id=run_id, observer=observer)
    open(f"{sys.argv[1]}/reports", "x")  # where the record would be written
    return RunResult(run_id, HELD, pending=Waiting(run_id, "serving/.pending"))

def leaves_a_thread(config, *, run_id, observer):
    threading.Thread(target=time.sleep, args=(600,)).start()
    trains(config, run_id=run_id, observer=observer)

def is_hit_again_at_its_last_words(config, *, run_id, observer):
    records.write = lambda *_: os.kill(os.getpid(), SIGNAL)
    return swallows_and_releases(config, run_id=run_id, observer=observer)

def is_hit_again_at_its_end(config, *, run_id, observer):
    threading.Timer(0.5, os.kill, (os.getpid(), SIGNAL)).start()
    return swallows_and_releases(config, run_id=run_id, observer=observer)

def waits_in_c(config, *, run_id, observer):
    threading.Timer(0.1, os.kill, (os.getpid(), SIGNAL)).start()
    mutex = ctypes.create_string_buffer(64)  # zeros are an open one
    for _ in range(2):  # the second time it waits for itself, and no signal wakes it
        ctypes.CDLL(None).pthread_mutex_lock(mutex)

def waits_after_python(config, *, run_id, observer):
    libc = ctypes.CDLL(None)
    libc.on_exit(libc.pause, None)  # as a destructor of a C++ library that waits for its threads
    trains(config, run_id=run_id, observer=observer)

sys.exit(main(["run", "--pipeline-root", sys.argv[1], "--json"], run=globals()[sys.argv[2]]))
"""
WORDS = {"SIGTERM": "terminated", "SIGINT": "interrupted"}
CODES = {"SIGTERM": 143, "SIGINT": 130}
GOES_ON = "the same command goes on from what is finished"


def ended(
    root: Path, what: str, name: str, *, grace_s: float = 300.0
) -> subprocess.CompletedProcess[str]:
    return script(RUN, str(root / "root"), what, name, str(grace_s))


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *(("trains", "SIGTERM"), ("trains", "SIGINT")),
        ("turns_it_into_another_error", "SIGTERM"),
        ("turns_it_into_a_refused_start", "SIGINT"),
        ("turns_it_into_an_exit", "SIGTERM"),
    ],
)
def test_a_run_that_was_ended_says_so_whatever_becomes_of_the_exception(tmp_path, what, name):
    done = ended(tmp_path, what, name)
    line = f"{WORDS[name]}; {GOES_ON}"
    assert (done.returncode, done.stderr) == (CODES[name], f"tfx-mnist: {line}\n")
    result = json.loads(done.stdout)
    assert (result["outcome"], result["error"]) == ("failed", line)
    assert result["seconds"]["total"] > 0


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("swallows_and_releases", "SIGINT"),
        ("is_hit_again_at_its_last_words", "SIGTERM"),
        ("is_hit_again_at_its_end", "SIGINT"),
    ],
)
def test_what_was_released_before_is_said_once(tmp_path, what, name):
    done = ended(tmp_path, what, name)
    line = f"{WORDS[name]} after version 3 was released in serving/3; {GOES_ON}"
    assert (done.returncode, done.stderr) == (CODES[name], f"tfx-mnist: {line}\n")
    result = json.loads(done.stdout)
    assert (result["outcome"], result["error"]) == ("released", line)
    assert result["release"] == {"version": 3, "path": "serving/3"}
    assert result["report"] is None  # nothing more is done


def test_what_was_held_before_is_said_also_where_nothing_can_be_recorded(tmp_path):
    done = ended(tmp_path, "swallows_and_holds", "SIGTERM")
    line = f"terminated after the model was held in serving/.pending; {GOES_ON}"
    assert (done.returncode, done.stderr) == (143, f"tfx-mnist: {line}\n")


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *(("swallows", "SIGTERM"), ("leaves_a_thread", "SIGINT")),
        *(("waits_in_c", "SIGTERM"), ("waits_after_python", "SIGINT")),
    ],
)
def test_what_does_not_end_by_itself_is_ended_after_the_grace(tmp_path, what, name):
    assert ended(tmp_path, what, name, grace_s=1.0).returncode == CODES[name]


def test_a_lost_terminal_ends_a_run_as_sigterm_does(tmp_path):
    done = ended(tmp_path, "trains", "SIGHUP")
    assert (done.returncode, done.stderr) == (143, f"tfx-mnist: terminated; {GOES_ON}\n")
    assert json.loads(done.stdout)["error"] == f"terminated; {GOES_ON}"


def test_the_grace_is_over_before_container_runtimes_send_sigkill():
    assert termination.GRACE_S < 10.0


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_what_is_ignored_stays_so(tmp_path, name):
    code = """
        import os, signal, sys
        from pipeline.cli.main import main
        from pipeline.result import RELEASED, RunResult
        def run(config, *, run_id, observer):
            os.kill(os.getpid(), SIGNAL)
            return RunResult(run_id, RELEASED)
        SIGNAL = signal.Signals[sys.argv[2]]
        signal.signal(SIGNAL, signal.SIG_IGN)  # as a shell does behind &, and nohup
        sys.exit(main(["run", "--pipeline-root", sys.argv[1]], run=run))
    """
    assert script(code, str(tmp_path / "root"), name).returncode == 0


def test_a_signal_during_the_imports_leaves_no_traceback() -> None:
    ended = script(
        """
        import os, signal, sys

        def interrupt(event, args):
            if event == "import" and args[0] == "pipeline.cli.main":
                os.kill(os.getpid(), signal.SIGINT)

        sys.addaudithook(interrupt)
        from pipeline.cli.__main__ import start
        start()
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("hit", ["main.collect_seldom = ctrl_c", "atexit.register(ctrl_c)"])
def test_ctrl_c_just_before_or_after_the_work_ends_without_a_traceback(hit: str) -> None:
    ended = script(
        """
        import atexit, os, signal, sys
        from pipeline.cli import main
        from pipeline.cli.__main__ import start

        def ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)

        exec(sys.argv[1])
        sys.argv[1:] = ["--version"]
        sys.exit(start())
        """,
        hit,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
