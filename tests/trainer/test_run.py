"""A training that is killed and started again, and what makes it the same or another one."""

import dataclasses
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
def test_a_pipeline_root_that_nobody_has_made_takes_the_scratch_files(
    prepared, tmp_path, monkeypatch
):
    """As in a container."""
    monkeypatch.delenv("TMPDIR", raising=False)
    given = dataclasses.replace(job(prepared, tmp_path / "root"), input="stream")
    assert len(training.load_splits(given)["train_split"].scratch) == 2


@pytest.mark.once
def test_another_training_has_other_checkpoints(prepared, tmp_path, monkeypatch):
    keys = []

    def end(root, key, *, writes):
        keys.append(key)
        raise InterruptedError

    def begin(given):
        with pytest.raises(InterruptedError):
            training.train_and_export(given, None)

    given = job(prepared, tmp_path)
    splits = training.load_splits(given)
    monkeypatch.setattr(training, "load_splits", lambda _: splits)
    monkeypatch.setattr(training, "Checkpoints", end)
    begin(given)
    begin(job(prepared, tmp_path, seed=4))
    begin(job(prepared, tmp_path, dropout=0.2))
    begin(dataclasses.replace(given, custom_config={**given.custom_config, "code": "1" * 64}))
    for library in (training.tf, training.keras):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "1.0")
            begin(given)
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(training, "prepare", lambda *_: two)
    begin(given)
    assert len(set(keys)) == len(keys)  # of one training they are found again, as above
