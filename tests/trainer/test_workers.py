"""Two machines that train together, see `tests.trainer.machines`; tests/e2e kills one of them."""

import os
import subprocess
import sys
import types

import pytest

from tests import loopback
from tests.trainer.machines import SOURCE, Machines, assert_close, settings, trained_alone
from tests.trainer.trainings import Training
from tests.waiting import wait_until
from trainer import supervision
from trainer.job import Job

pytestmark = [pytest.mark.slow, pytest.mark.once_newer]  # tests/e2e/test_machines.py


@pytest.fixture(scope="module")
def alone(prepared, tmp_path_factory) -> Training:
    return trained_alone(prepared, tmp_path_factory.mktemp("alone"))


def test_two_machines_train_as_one_does_and_the_chief_alone_exports(
    prepared, alone, tmp_path, monkeypatch
):
    monkeypatch.setenv("TFX_MNIST_INPUT", "stream")  # tests/e2e trains from memory
    machines = Machines(Training(prepared, tmp_path, **settings(batch=8)), tmp_path)
    machines.end(machines.start_chief(), machines.start_worker())
    assert "replicas: 2" in machines.log(1)
    assert "input: stream" in machines.log(1)
    assert_close(machines.training, alone)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "0.log", "1.log"}
    assert {path.name for path in machines.folder(0).iterdir()} == {"serving", "logs"}
    assert list(machines.folder(1).iterdir()) == []


AGREE = """
import sys
from trainer.strategy import Disagreement, multi_worker_strategy, require_agreement
strategy = multi_worker_strategy(0)
require_agreement(strategy, "what both have")
try:
    require_agreement(strategy, f"what the machine {sys.argv[1]} has alone")
except Disagreement as error:
    print(error)
"""


def test_both_machines_find_that_they_would_not_train_the_same():
    ports = loopback.free_ports(2)
    processes = []
    for index in (0, 1):
        variables = {"TF_CONFIG": loopback.tf_config(ports, index), "PYTHONPATH": str(SOURCE)}
        command = [sys.executable, "-c", AGREE, str(index)]
        environment = {**os.environ, **variables, "http_proxy": loopback.NO_PROXY_THERE}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert said.startswith("the machines do not train the same: they need one pipeline root")


def test_machines_that_do_not_come_are_not_waited_for_for_good(prepared, tmp_path, monkeypatch):
    machines = Machines(Training(prepared, tmp_path), tmp_path)
    Job.from_fn_args(types.SimpleNamespace(**machines.training.fn_args)).write(machines.job)
    monkeypatch.setenv("TF_CONFIG", loopback.tf_config(machines.ports, 0))
    monkeypatch.setattr(supervision, "JOIN_S", 0.5)
    with pytest.raises(supervision.TrainingFailed, match=r"not train together within 0.5 s: see"):
        supervision.train(machines.job)


def test_a_machine_that_waits_for_a_chief_that_has_given_up_ends_soon(prepared, tmp_path):
    machines = Machines(Training(prepared, tmp_path), tmp_path)
    Job.from_fn_args(types.SimpleNamespace(**machines.training.fn_args)).write(machines.job)
    worker = machines.start_worker(last_words_s=1.0)
    # Then it waits for the chief.
    wait_until(lambda: loopback.answers(machines.ports[1]), log=lambda: machines.log(1)[-3000:])
    machines.job.unlink()
    assert worker.wait(timeout=300) == 1
    assert "the chief has ended before this machine had" in machines.log(1)


def test_a_machine_that_starts_again_is_not_held_to_what_it_said_before(tmp_path):
    job = tmp_path / "training-job.json"
    job.touch()  # as a chief leaves it that was killed
    job.with_suffix(".failed").write_text("the machine 127.0.0.1:1 cannot train: too little memory")
    supervision.wait_for(job, seconds=0.0)
    assert [path.name for path in tmp_path.iterdir()] == [job.name]


ONE_SHORT = """
import json, os, keras

def build(image_shape, num_classes, hparams):
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"]:
        raise MemoryError("a batch exceeds the memory")
    image = keras.Input(image_shape)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten()(image)))
"""


def test_an_error_of_a_worker_that_would_come_again_ends_the_chief_with_its_line(
    prepared, tmp_path
):
    network = {"architecture": "net.py:build", "found": {"architecture": ONE_SHORT}}
    machines = Machines(Training(prepared, tmp_path, **network), tmp_path)
    machines.job.with_suffix(".failed").write_text("of a chief that was killed")
    chief, worker = machines.start_chief(), machines.start_worker()
    assert worker.wait(timeout=300) == 1
    assert chief.wait(timeout=300) == 1, machines.log(0)[-3000:]
    line = f"the machine 127.0.0.1:{machines.ports[1]} cannot train: training.architecture is"
    assert line in machines.log(0)
    assert "(MemoryError: a batch exceeds the memory)" in machines.log(0)
    assert {path.name for path in tmp_path.glob("training-job.*")} == set()
