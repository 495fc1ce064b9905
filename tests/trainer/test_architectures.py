"""A network from another distribution, trained like one of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install

PLUGIN = """
from trainer.architectures import ARCHITECTURES, Architecture

def linear(image, hparams):
    from keras import layers
    return layers.Flatten()(image)

ARCHITECTURES.add("linear", Architecture("no hidden layer", 1, linear))
"""

TRAIN = """
import json, sys
from trainer.hparams import HParams
assert "keras" not in sys.modules
hparams = HParams(architecture="linear", epochs=3, per_replica_batch=16, max_shift=0)
assert "keras" not in sys.modules

import numpy as np, tensorflow as tf
from trainer import inputs, training
from trainer.features import ImageSpec
from trainer.strategy import mirrored_strategy

labels = np.arange(64) % 2
pixels = np.where(labels, 255, 0)[:, None, None, None] * np.ones((4, 4, 1))
levels = np.arange(256, dtype=np.float32)[:, None] / 255.0
split = inputs.Split(tf.constant(pixels, tf.uint8), tf.one_hot(labels, 2), tf.constant(levels))
model, history = training.fit(
    hparams,
    spec=ImageSpec((4, 4, 1), ("black", "white")),
    train_split=split,
    eval_split=split,
    strategy=mirrored_strategy(),
    seed=0,
)
print(json.dumps([model.count_params(), history[-1].eval_accuracy]))
"""


@pytest.mark.slow
def test_an_architecture_from_outside_is_trained(tmp_path: Path) -> None:
    install(tmp_path, PLUGIN)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # One dense layer from 4*4 pixels to 2 classes.
    assert json.loads(done.stdout.splitlines()[-1]) == [16 * 2 + 2, 1.0]
