import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import inputs, loop, progress
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.strategy import mirrored_strategy

HPARAMS = HParams(epochs=4, per_replica_batch=16, learning_rate=0.01, max_shift=1)


def separable(rows: int, seed: int) -> inputs.Split:
    """Two classes: bright above or bright below."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(rows, 8, 8, 1)).astype(np.float32)
    labels = np.arange(rows) % 2
    images[labels == 0, :4] += 2.0
    images[labels == 1, 4:] += 2.0
    return inputs.Split(tf.constant(images), tf.one_hot(labels, 2))


def train(hparams: HParams = HPARAMS, **changes):
    keras.utils.set_random_seed(3)
    strategy = mirrored_strategy(changes.pop("replicas", 0))
    with strategy.scope():
        model = build_model(
            hparams,
            image_shape=(8, 8, 1),
            num_classes=2,
            synchronized=strategy.num_replicas_in_sync > 1,
        )
    options = {
        "train_split": separable(64, seed=1),
        "eval_split": separable(32, seed=2),
        "hparams": hparams,
        "strategy": strategy,
        "seed": 5,
    } | changes
    return model, loop.train(model, **options)


def test_learns_what_can_be_learned():
    _, history = train()
    assert [epoch.number for epoch in history] == [1, 2, 3, 4]
    assert history[-1].loss < history[0].loss
    assert history[-1].eval_accuracy == 1.0


def test_a_diverging_loss_ends_the_training():
    hparams = HParams(epochs=4, per_replica_batch=16, learning_rate=1e30, schedule="constant")
    with pytest.raises(
        loop.TrainingDiverged,
        match=r"loss is nan in epoch \d of 4: set training\.learning_rate below 1e\+30",
    ):
        train(hparams)


def test_a_loss_on_eval_that_is_no_number_ends_the_training():
    right = separable(32, seed=2)
    broken = inputs.Split(right.images, np.full_like(right.labels, np.nan))
    with pytest.raises(loop.TrainingDiverged, match=r"the loss on eval is nan in epoch 1 of 4"):
        train(eval_split=broken)


def test_patience_stops_early_and_takes_the_best_epoch():
    # Labels of eval are the wrong way round: the better the training, the worse the loss on eval.
    right = separable(32, seed=2)
    wrong = inputs.Split(right.images, 1.0 - right.labels)
    hparams = HParams(
        epochs=12,
        per_replica_batch=16,
        learning_rate=0.01,
        max_shift=0,
        patience=2,
        schedule="constant",
    )
    model, history = train(hparams, eval_split=wrong)
    best = min(history, key=lambda epoch: epoch.eval_loss)
    assert len(history) == best.number + 2 < 12
    logits = model(wrong.images, training=False)
    loss = np.mean(tf.nn.softmax_cross_entropy_with_logits(wrong.labels, logits))
    assert loss == pytest.approx(best.eval_loss, rel=1e-5)


def test_progress_counts_steps_and_epochs(caplog):
    with caplog.at_level("INFO", logger="trainer.progress"):
        train()
    ends = [
        record.progress
        for record in caplog.records
        if record.name == progress.LOGGER.name and record.progress.epoch_ended
    ]
    assert [(end.epoch, end.step, end.total_steps) for end in ends] == [
        (1, 4, 16),
        (2, 8, 16),
        (3, 12, 16),
        (4, 16, 16),
    ]
    assert ends[-1].eval_accuracy == 1.0


def test_tensorboard_can_read_the_run(tmp_path):
    _, history = train(log_dir=str(tmp_path))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    logged = [float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors("eval_accuracy")]
    assert logged == pytest.approx([epoch.eval_accuracy for epoch in history])


_TWO_REPLICAS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("test_loop", sys.argv[1])
test_loop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test_loop)
from trainer.hparams import HParams
from trainer.strategy import prepare_devices
prepare_devices(2)
losses = []
for replicas in (1, 2):
    hparams = HParams(epochs=3, per_replica_batch=16 // replicas, learning_rate=0.01, max_shift=1)
    _, history = test_loop.train(hparams, replicas=replicas)
    losses.append([epoch.loss for epoch in history] + [epoch.eval_loss for epoch in history])
print(json.dumps(losses))
"""


def test_two_replicas_train_as_one_does():
    # A process of its own: logical devices are made before TensorFlow runs anything.
    done = subprocess.run(
        [sys.executable, "-c", _TWO_REPLICAS, __file__],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(two, one, rtol=1e-3)
