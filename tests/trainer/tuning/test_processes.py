"""A chief and two workers in processes of their own."""

import dataclasses
import functools
import os
import subprocess
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.loopback import NO_PROXY_THERE
from tests.trainer.samples import SPEC
from trainer import progress
from trainer.host.children import python_child
from trainer.hparams import HParams
from trainer.job import Job
from trainer.tuning import processes
from trainer.tuning.processes import (
    ORACLE_IP,
    ORACLE_PORT,
    TUNER_ID,
    WorkerDied,
    WorkersSilent,
    chief_of_local_workers,
    is_worker,
    serve_workers,
    train_in_workers,
    work,
)
from trainer.tuning.settings import TuningConfig
from trainer.tuning.tuner_fn import tuner_fn

pytestmark = [
    pytest.mark.slow,
    # scikit-learn's, on so few trials
    pytest.mark.filterwarnings("ignore:The optimal value found for dimension"),
]


@pytest.fixture
def search(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    with chief_of_local_workers():
        settings = TuningConfig(enabled=True, max_trials=3, parallel_trials=2)
        yield tuner_fn(
            types.SimpleNamespace(
                train_files=[prepared.train_files],
                eval_files=[prepared.eval_files],
                transform_graph_path=prepared.transform_output,
                custom_config={
                    "spec": SPEC.to_config(),
                    "hparams": HParams(epochs=1, per_replica_batch=32).to_config(),
                    "tuning": dataclasses.asdict(settings),
                    "seed": 3,
                    "replicas": 0,
                    "code": "0" * 64,
                    "searches": str(tmp_path / "tuning"),
                },
            )
        ).tuner


@pytest.mark.once_newer  # tests/e2e/test_tuning.py
def test_two_workers_share_the_trials(search, caplog):
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        train_in_workers(search, count=2)
    assert caplog.text.count("input: memory") == 2
    assert caplog.text.count(": learning_rate ") == 3  # none has got the other one's
    assert not any(hasattr(record, "progress") for record in caplog.records)  # of which trial?
    results = search.results()
    assert [trial.status for trial in results.trials] == ["completed"] * 3
    assert len({str(trial.values) for trial in results.trials}) == 3


def changed(search, **changes):
    """Another training for the workers: what they read, and the chief does not."""
    job = Job.read(search.job_file)
    config = {**job.custom_config, **changes}
    dataclasses.replace(job, custom_config=config).write(search.job_file)


@pytest.mark.once  # two workers train on both
def test_one_worker_shows_its_progress_and_trains_on_as_many_devices_as_asked(search, caplog):
    changed(search, replicas=2)
    search.oracle.max_trials = 1
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        train_in_workers(search, count=1)
    assert [trial.status for trial in search.results().trials] == ["completed"]
    states = [record.progress for record in caplog.records if hasattr(record, "progress")]
    # 96 images in global batches of 2 * 32; one epoch
    assert {state.total_steps for state in states} == {1}
    assert sum(state.epoch_ended for state in states) == 1


@pytest.mark.once  # test_training_process.py has an error of a library on both
def test_an_error_of_a_trial_is_said_with_the_end_of_its_worker(search):
    too_large = HParams(epochs=1, per_replica_batch=97)  # of 96 training images
    changed(search, hparams=too_large.to_config())
    line = "worker 1 of 1 ended with code 1: ValueError: the global batch is 97, .* the same"
    with pytest.raises(WorkerDied, match=line):
        train_in_workers(search, count=1)


@pytest.mark.once  # without a worker
@pytest.mark.parametrize("serve", [functools.partial(train_in_workers, count=1), serve_workers])
def test_an_error_of_the_chief_ends_the_search(serve, search, monkeypatch):
    def fail():
        raise OSError("the port is taken")

    monkeypatch.setattr(search, "search", fail)
    with pytest.raises(OSError, match="the port is taken"):
        serve(search)


@pytest.mark.once  # without TensorFlow
def test_a_worker_that_is_killed_ends_the_search(search, monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = "worker 1 of 1 was killed by SIGKILL, as when memory runs out: see the log; the same"
    with pytest.raises(WorkerDied, match=line):
        train_in_workers(search, count=1)


@pytest.mark.once  # without TensorFlow
@pytest.mark.parametrize(("cores", "threads"), [(5, 2), (1, 1)])
def test_workers_share_the_cores_and_one_that_dies_ends_the_search(
    cores, threads, search, monkeypatch, tmp_path
):
    (tmp_path / "tensorflow.py").write_text(
        "import os, time\n"
        f"if os.environ['{TUNER_ID}'] == 'tuner0': time.sleep(60)\n"
        "os._exit(int(os.environ['TF_NUM_INTRAOP_THREADS']))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    with pytest.raises(WorkerDied, match=f"worker 2 of 2 ended with code {threads}: see the log; "):
        train_in_workers(search, count=2)


@pytest.mark.once  # the words are ours
def test_a_chief_that_gives_no_answer_is_said_in_one_line(search, monkeypatch):
    silent = grpc.server(ThreadPoolExecutor(1))  # it knows none of keras-tuner's methods
    line = (
        "the worker ended with code 1: keras-tuner's chief did not answer: Method not found!; the"
    )
    with monkeypatch.context() as patch:
        patch.setenv(TUNER_ID, "tuner0")
        patch.setenv(ORACLE_PORT, str(silent.add_insecure_port("127.0.0.1:0")))
        silent.start()
        with pytest.raises(WorkerDied, match=line):
            work(search.job_file)
    silent.stop(None).wait()


def test_a_chief_whose_workers_do_not_come_says_so_and_ends(search):
    with pytest.raises(WorkersSilent, match=rf"for 0.5 s: start .* {search.job_file}"):
        serve_workers(search, first_word_s=0.5)


def test_a_chief_whose_workers_fall_silent_says_so_and_ends(search):
    search.oracle.create_trial("tuner0")
    with pytest.raises(WorkersSilent, match=r"no worker has asked .* ended one for 0.5 s"):
        serve_workers(search, next_word_s=0.5)


def test_the_environment_is_as_before_afterwards(monkeypatch):
    monkeypatch.setenv(TUNER_ID, "a name without a chief")
    before = dict(os.environ)
    with chief_of_local_workers():
        assert not is_worker(os.environ)
        assert is_worker({**os.environ, TUNER_ID: "tuner0"})
        assert not is_worker(
            {**os.environ, TUNER_ID: "the chief of them"}
        )  # as keras-tuner reads it
        assert os.environ[ORACLE_IP] == "127.0.0.1"
    assert dict(os.environ) == before
    assert not is_worker({TUNER_ID: "tuner0"})


@pytest.mark.once  # before it uses a library
def test_a_terminated_worker_says_so_in_one_line_and_ends_with_143(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    os.mkfifo(job)
    child = python_child(processes.__name__, str(job))
    with subprocess.Popen(
        child.command, env=child.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        reading = _opened_by_its_reader(job)
        worker.terminate()
        assert worker.wait(300) == 143
        os.close(reading)
        said = worker.stderr.read().decode()
    assert said.endswith("terminated; the same command goes on with the trials that are left\n")


def _opened_by_its_reader(fifo: Path) -> int:
    """The descriptor to write to a FIFO, once somebody reads it."""
    end = time.monotonic() + 300
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
