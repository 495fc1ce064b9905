"""The process that trains, and the one that started it: errors, notes, and the end of either."""

import contextlib
import json
import logging
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.trainings import Training
from tests.waiting import is_running, wait_until
from trainer import progress, training_process
from trainer.job import Job
from trainer.training_process import TrainingFailed, end_early, start_early, train_alone

pytestmark = pytest.mark.slow

# Says the number of the process that trains, and lets it train.
PARENT = """
import json, sys
from trainer.job import Job
from trainer.training_process import TrainingProcess
process = TrainingProcess(0)
process.require_devices()
print(process.process.pid, flush=True)
process.train(Job(**json.loads(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def none_is_left():
    yield
    end_early()


@contextlib.contextmanager
def told(act: Callable[[logging.LogRecord], None]):
    """Calls `act` with all that `trainer.progress` is told."""
    handler = logging.Handler()
    handler.emit = act
    progress.LOGGER.addHandler(handler)
    try:
        yield
    finally:
        progress.LOGGER.removeHandler(handler)


def job(training: Training) -> Job:
    return Job.from_fn_args(types.SimpleNamespace(**training.fn_args))


@pytest.mark.once  # the system ends it
def test_it_ends_when_the_process_that_started_it_is_killed(prepared, tmp_path):
    training = Training(prepared, tmp_path, epochs=100_000)
    command = [sys.executable, "-c", PARENT, json.dumps(vars(job(training)))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        wait_until(lambda: list(training.checkpoints.glob("*/*")))
        assert is_running(child)
        parent.kill()
    wait_until(lambda: not is_running(child))


def test_an_error_of_a_library_is_said_after_its_type(prepared, tmp_path):
    training = Training(prepared, tmp_path)
    missing = types.SimpleNamespace(**{**training.fn_args, "transform_graph_path": "/no/graph"})
    with pytest.raises(TrainingFailed, match=r"^[A-Za-z]+Error: .*/no/graph"):
        train_alone(Job.from_fn_args(missing))


def test_nothing_of_it_stays_in_the_temporary_directory(prepared, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)  # asks for it again
    train_alone(job(Training(prepared, tmp_path, epochs=2)))
    assert not list(temporary.iterdir())


@pytest.mark.once  # the system ends it; test_run.py and tests/e2e/test_stopped.py resume
def test_one_that_is_killed_may_lack_memory(prepared, tmp_path, caplog):
    training = Training(prepared, tmp_path)
    process = start_early(0).process

    def kill(record: logging.LogRecord) -> None:
        if hasattr(record, "progress") and record.progress.epoch_ended:
            process.kill()

    line = "the process that trains was killed by SIGKILL, as when memory runs out: see the log; "
    caplog.set_level("INFO", logger=progress.LOGGER.name)
    with told(kill), pytest.raises(TrainingFailed, match=line):
        train_alone(job(training))
    assert not training.exported.exists()


@pytest.mark.once  # without TensorFlow
@pytest.mark.parametrize("reads", ["", "sys.stdin.readline(); "], ids=["before", "after its job"])
def test_one_that_ends_without_a_word_names_its_code_and_the_log(reads, monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text(f"import os, sys; {reads}os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = start_early(0).process
    if not reads:
        process.wait()
    with pytest.raises(TrainingFailed, match="ended with code 7: see the log; the same command"):
        train_alone(Job([], [], "", {"replicas": 0}))


def test_a_note_is_passed_on_at_its_level(caplog):
    training_process.pass_on({"note": "100 %d", "level": logging.WARNING})
    assert caplog.record_tuples == [(progress.LOGGER.name, logging.WARNING, "100 %d")]


@pytest.mark.once  # before it uses TensorFlow
def test_the_next_training_takes_the_one_that_was_started_early_and_ends_it():
    early = start_early(0)
    assert start_early(0) is early
    with training_process.training_process(0) as taken:
        assert taken is early
        assert taken.process.poll() is None
    assert taken.process.returncode == -signal.SIGKILL
    assert start_early(0) is not early


@pytest.mark.once  # before it uses TensorFlow
def test_one_that_no_training_takes_is_ended():
    process = start_early(0).process
    end_early()
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()
