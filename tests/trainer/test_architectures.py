"""A network and its hyper-parameter from another distribution, trained like one of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install

PLUGIN = """
from trainer.architectures import ARCHITECTURES, Architecture
from trainer.hparams import HYPER_PARAMETERS, HyperParameter

def mlp(image, hparams):
    from keras import layers
    return layers.Dense(hparams.extra["units"])(layers.Flatten()(image))

ARCHITECTURES.add("mlp", Architecture("one hidden layer", 1, mlp))
HYPER_PARAMETERS.add("units", HyperParameter("of the hidden layer", default=8, parse=int))
"""

TRAIN = """
import json, sys
from trainer.hparams import HParams
assert "keras" not in sys.modules
hparams = HParams(
    architecture="mlp", epochs=20, per_replica_batch=16, max_shift=0, extra={"units": 5}
)
assert "keras" not in sys.modules

import numpy as np, tensorflow as tf
from trainer import inputs, loop
from trainer.features import ImageSpec
from trainer.strategy import mirrored_strategy

labels = np.arange(64) % 2
pixels = np.where(labels, 255, 0)[:, None, None, None] * np.ones((4, 4, 1))
levels = np.arange(256, dtype=np.float32)[:, None] / 255.0
images = tf.constant(pixels, tf.uint8)
split = inputs.LoadedSplit(images, tf.one_hot(labels, 2), tf.constant(levels))
model, history = loop.train(
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
@pytest.mark.once_newer  # tests/e2e/test_plugin.py
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
    # Dense layers from 4*4 pixels to 5 units and from these to 2 classes.
    assert json.loads(done.stdout.splitlines()[-1]) == [16 * 5 + 5 + 5 * 2 + 2, 1.0]
