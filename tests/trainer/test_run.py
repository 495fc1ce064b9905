"""`run_fn` in processes of its own: killed, started again, and twice with one seed."""

import json
import subprocess
import sys

import pytest

from tests.trainer.trainings import Training, assert_same

pytestmark = pytest.mark.slow

PREPARE = """
import json, sys, types
from trainer import training
from trainer.job import Job
from tensorflow.python.framework.config import is_op_determinism_enabled  # no public one asks
for fn_args in sys.argv[1:]:
    training.prepare(Job.from_fn_args(types.SimpleNamespace(**json.loads(fn_args))))
    print(is_op_determinism_enabled())
"""


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Training:
    training = Training(prepared, tmp_path_factory.mktemp("unbroken"), deterministic=True)
    training.run()
    return training


@pytest.mark.once_newer  # tests/e2e/test_stopped.py
def test_a_killed_training_ends_with_the_model_of_one_that_was_not_wherever_the_images_lie(
    prepared, unbroken, tmp_path
):
    training = Training(prepared, tmp_path, deterministic=True)
    training.run_and_kill_after(epoch=3)
    training.environment = {"TFX_MNIST_INPUT": "stream"}
    training.run_and_kill_after(epoch=8)
    log = training.run()
    assert "input: stream, as training.input says" in log
    assert "resumed after epoch" in log
    assert_same(training.weights(), unbroken.weights())
    assert training.files() == unbroken.files()
    assert not training.checkpoints.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"serving", "logs"}


def test_the_order_of_operations_is_left_to_tensorflow_unless_asked(prepared, tmp_path):
    asked = (False, True)  # in one process, in which the first one sets nothing
    trainings = [Training(prepared, tmp_path, deterministic=one) for one in asked]
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, *(json.dumps(one.fn_args) for one in trainings)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "False\nTrue\n"


@pytest.mark.once  # test_environment.py looks at settings of Keras on both
def test_neither_a_checkpoint_of_another_seed_nor_keras_settings_of_the_user_change_a_weight(
    prepared, unbroken, tmp_path
):
    other = Training(prepared, tmp_path, deterministic=True, seed=4)
    other.run_and_kill_after(epoch=3)
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    training = Training(prepared, tmp_path, deterministic=True)
    training.environment = {"KERAS_HOME": str(tmp_path), "TF_USE_LEGACY_KERAS": "0"}
    log = training.run()
    assert "starting anew: the checkpoints in" in log
    assert_same(training.weights(), unbroken.weights())
    assert list(training.checkpoints.iterdir())
