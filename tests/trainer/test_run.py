"""A training that is killed and started again, and what makes it the same or another one."""

import types

import pytest
from tensorflow.python.framework import config  # no public one asks about determinism

from tests.trainer.trainings import Training, assert_same
from trainer import training
from trainer.job import Job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Training:
    whole = Training(prepared, tmp_path_factory.mktemp("unbroken"), deterministic=True)
    whole.run()
    return whole


@pytest.mark.once_newer  # tests/e2e/test_stopped.py
def test_a_killed_training_ends_with_the_model_of_one_that_was_not_wherever_the_images_lie(
    prepared, unbroken, tmp_path
):
    killed = Training(prepared, tmp_path, deterministic=True)
    killed.run_and_kill_after(epoch=3)
    killed.environment = {"TFX_MNIST_INPUT": "stream"}
    killed.run_and_kill_after(epoch=8)
    log = killed.run()
    assert "input: stream, as training.input says" in log
    assert "resumed after epoch" in log
    assert_same(killed.weights(), unbroken.weights())
    assert killed.files() == unbroken.files()
    assert not killed.checkpoints.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"serving", "logs"}


def job(prepared, root, **changes) -> Job:
    return Job.from_fn_args(types.SimpleNamespace(**Training(prepared, root, **changes).fn_args))


def test_the_order_of_operations_is_left_to_tensorflow_unless_asked(prepared, tmp_path):
    training.prepare(job(prepared, tmp_path))
    assert not config.is_op_determinism_enabled()
    try:
        training.prepare(job(prepared, tmp_path, deterministic=True))
        assert config.is_op_determinism_enabled()
    finally:
        config.disable_op_determinism()


@pytest.mark.once
def test_a_training_with_another_seed_has_other_checkpoints(prepared, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(training, "Checkpoints", lambda _, key, **__: found.append(key) or 1 / 0)
    for seed in (3, 4):  # with one seed they are found again, as above
        with pytest.raises(ZeroDivisionError):
            training.train_and_export(job(prepared, tmp_path, seed=seed), None)
    assert found[0] != found[1]
