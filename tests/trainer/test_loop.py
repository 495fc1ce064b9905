import dataclasses
import functools
import gc
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.devices import in_own_process
from trainer import batches, loop, progress
from trainer.architectures import ARCHITECTURES, Architecture
from trainer.augmentation import Augmentation
from trainer.batches import TrainingBatches
from trainer.checkpoints import Checkpoints
from trainer.device_memory import OutOfMemory
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.inputs import LoadedSplit
from trainer.model import build_model
from trainer.optimizer import learning_rate_at
from trainer.state import WeightAverage
from trainer.strategy import mirrored_strategy

KEY = "0" * 64
HPARAMS = HParams(epochs=4, per_replica_batch=16, learning_rate=0.01, max_shift=1)


def separable(rows: int, seed: int, side: int = 8) -> LoadedSplit:
    """Two classes: bright above or bright below."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(rows, side, side, 1)).astype(np.float32)
    labels = np.arange(rows) % 2
    images[labels == 0, : side // 2] += 2.0
    images[labels == 1, side // 2 :] += 2.0
    levels = (np.arange(256, dtype=np.float32)[:, None] - 128.0) / 32.0  # -4..4
    pixels = np.clip(np.rint(images * 32.0 + 128.0), 0, 255).astype(np.uint8)
    return LoadedSplit(tf.constant(pixels), tf.one_hot(labels, 2), tf.constant(levels))


def train(hparams: HParams = HPARAMS, **changes):
    """(the network as it would be exported, the epochs)"""
    side = ARCHITECTURES[hparams.architecture].min_side
    options = {
        "spec": ImageSpec((side, side, 1), ("above", "below")),
        "train_split": separable(64, seed=1, side=side),
        "eval_split": separable(32, seed=2, side=side),
        "strategy": mirrored_strategy(),
        "seed": 5,
    }
    return loop.train(hparams, **(options | changes))


def test_labels_of_another_number_of_classes_are_refused():
    spec = ImageSpec((8, 8, 1), ("above", "between", "below"))
    with pytest.raises(ValueError, match="class_names holds 3 names, expected 2, one for each col"):
        train(spec=spec)


def graphs():
    """How many of TensorFlow's graphs are in memory."""
    gc.collect()
    return sum(issubclass(type(each), tf.Graph) for each in gc.get_objects())


# What it returns several tests look at, and none changes.
trained = functools.cache(train)


def test_a_step_that_exceeds_the_memory_is_refused_with_the_remedies(monkeypatch):
    def apply(images, draws):
        waste = tf.random.uniform([images.shape[0], 1 << 50])
        return images + tf.reduce_mean(waste)

    wasteful = Augmentation(lambda batch, _: tf.zeros([batch, 0]), apply)
    monkeypatch.setattr(loop, "make_augmentation", lambda hparams: wasteful)
    line = (
        r"the training exceeds the memory of a device \(72057.6 TB on CPU:0 for float\[16,1125\d+\]"
        r"\): set training.per_replica_batch below 16 or training.input=stream, or take a smaller"
    )
    with pytest.raises(OutOfMemory, match=line):
        train()


@pytest.mark.parametrize("architecture", ["convnet", "deep"])
def test_a_batch_of_which_a_unit_has_no_statistics_is_refused(architecture):
    one = dataclasses.replace(HPARAMS, architecture=architecture, per_replica_batch=1)
    with pytest.raises(ValueError, match=r"global batch is 1, expected 2 or more: .*batch higher"):
        train(one)


def test_one_image_has_the_statistics_of_its_places():
    one = dataclasses.replace(HPARAMS, architecture="residual", per_replica_batch=1, epochs=1)
    _, history = train(one)
    assert history[-1].eval_accuracy == 1.0


def test_learns_what_can_be_learned():
    _, history = trained()
    assert [epoch.number for epoch in history] == [1, 2, 3, 4]
    assert history[-1].loss < history[0].loss
    assert history[-1].eval_accuracy == 1.0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_losses_are_those_of_the_networks_answers_but_that_it_drops_in_training(
    dropout, monkeypatch
):
    still = HParams(
        architecture="article",
        epochs=1,
        per_replica_batch=16,
        learning_rate=1e-12,
        dropout=dropout,
        max_shift=0,
        label_smoothing=0.1,
    )
    monkeypatch.setattr(loop, "_EVAL_BYTES", 1)  # image by image
    network, (epoch,) = train(still)
    side = network.input_shape[1]
    found = (epoch.loss, epoch.accuracy), (epoch.eval_loss, epoch.eval_accuracy)
    splits = (separable(64, seed=1, side=side), 0.1), (separable(32, seed=2, side=side), 0.0)
    for (loss, accuracy), (split, smoothing) in zip(found, splits, strict=True):
        logits = network(split.normalized(split.images)).numpy().astype(np.float64)
        labels = split.labels.numpy()
        logs = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        expected = -np.mean(np.sum((labels * (1 - smoothing) + smoothing / 2) * logs, axis=1))
        drops = bool(dropout and smoothing)  # on train
        assert (loss == pytest.approx(expected, rel=1e-4)) != drops
        assert drops or accuracy == np.mean(np.argmax(logits, 1) == np.argmax(labels, 1))
    assert 0.0 < epoch.seconds < 300.0


# 35 steps per epoch: one call makes 32 of them, and a second one the rest.
SMALL_BATCHES = dataclasses.replace(HPARAMS, epochs=2, per_replica_batch=2, averaging=0.9)


@pytest.fixture(scope="module")
def small_batches():
    """(the network, the epochs, the functions that were traced)"""
    traced = []

    class Counted(TrainingBatches):
        def draw(self, first, steps):
            traced.append("draw")
            return super().draw(first, steps)

        def share(self, data, drawn, place):
            traced.append("share")
            return super().share(data, drawn, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "TrainingBatches", Counted)
        return *train(SMALL_BATCHES, train_split=separable(70, seed=1)), traced


def test_a_training_traces_its_step_once(small_batches):
    _, history, traced = small_batches
    assert len(history) == 2
    assert traced == ["draw", "share"]


@pytest.mark.parametrize("optimizer", ["adam", "adadelta"])
def test_a_training_leaves_no_graph_and_with_it_no_weights_in_memory(optimizer):
    trained()  # the first training of a process leaves some that are made once
    before = graphs()
    train(dataclasses.replace(HPARAMS, optimizer=optimizer, epochs=1))
    assert graphs() == before


@pytest.mark.parametrize("steps", [1, 9])
def test_the_number_of_steps_per_call_changes_no_weight(steps, small_batches, monkeypatch):
    expected, history, _ = small_batches
    monkeypatch.setattr(batches, "_STEPS_PER_CALL", steps)
    served, others = train(SMALL_BATCHES, train_split=separable(70, seed=1))
    for value, weight in zip(served.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)
    # Sums of float64 in another order.
    assert [epoch.loss for epoch in others] == pytest.approx([epoch.loss for epoch in history])
    assert [epoch.accuracy for epoch in others] == [epoch.accuracy for epoch in history]


def test_tf_data_makes_no_batch_of_a_training(monkeypatch):
    def refuse(self, *args, **kwargs):
        raise AssertionError("a tf.data.Dataset was made")

    monkeypatch.setattr(tf.data.Dataset, "__init__", refuse)
    with pytest.raises(AssertionError, match="was made"):
        tf.data.Dataset.range(1)
    _, history = train()
    assert len(history) == 4


def test_a_diverging_loss_ends_the_training():
    hparams = HParams(epochs=4, per_replica_batch=16, learning_rate=1e30, schedule="constant")
    with pytest.raises(
        loop.TrainingDiverged,
        match=r"loss is nan in epoch \d of 4: set training\.learning_rate below 1e\+30",
    ):
        train(hparams)


def test_a_loss_on_eval_that_is_no_number_ends_the_training():
    right = separable(32, seed=2)
    broken = dataclasses.replace(right, labels=np.full_like(right.labels, np.nan))
    with pytest.raises(loop.TrainingDiverged, match=r"the loss on eval is nan in epoch 1 of 4"):
        train(eval_split=broken)


def test_patience_stops_early_and_takes_the_best_epoch(tmp_path):
    # Labels of eval are the wrong way round: the better the training, the worse the loss on eval.
    right = separable(32, seed=2)
    wrong = dataclasses.replace(right, labels=1.0 - right.labels)
    hparams = HParams(
        epochs=12,
        per_replica_batch=16,
        learning_rate=0.01,
        max_shift=0,
        patience=2,
        schedule="constant",
    )
    for _ in range(2):  # the second time nothing is left to train
        model, history = train(hparams, eval_split=wrong, checkpoints=Checkpoints(tmp_path, KEY))
        best = min(history, key=lambda epoch: epoch.eval_loss)
        assert len(history) == best.number + 2 < 12
        logits = model(wrong.normalized(wrong.images), training=False)
        loss = np.mean(tf.nn.softmax_cross_entropy_with_logits(wrong.labels, logits))
        assert loss == pytest.approx(best.eval_loss, rel=1e-5)


def logged(folder: Path) -> list[tuple[int, float]]:
    """(epoch, accuracy on eval) as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [
        (event.step, float(tf.make_ndarray(event.tensor_proto)))
        for event in events.Tensors("eval_accuracy")
    ]


class Stopped(Exception):
    """Stands for the end of the process."""


class StopsAfter(Checkpoints):
    """Checkpoints of a process that ends as soon as one epoch's is written."""

    def __init__(self, root: Path, *, epoch: int) -> None:
        super().__init__(root, KEY)
        self._last = epoch

    def save(self, checkpoint):
        super().save(checkpoint)
        if checkpoint.epoch == self._last:
            raise Stopped


class CopiedAfter(Checkpoints):
    """Leaves in another folder what a process leaves that ends after one epoch."""

    def __init__(self, root: Path, left: Path, *, epoch: int) -> None:
        super().__init__(root, KEY)
        self._left, self._last = left, epoch

    def save(self, checkpoint):
        super().save(checkpoint)
        if checkpoint.epoch == self._last:
            shutil.copytree(self._root, self._left)


def without_seconds(history):
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in history]


RESUMED = {
    "adam": HPARAMS,
    "adadelta": dataclasses.replace(HPARAMS, optimizer="adadelta", schedule="constant"),
    "dropout, averaging, warp, patience": dataclasses.replace(
        HPARAMS, dropout=0.5, averaging=0.9, max_rotation=10.0, patience=3
    ),
    "float16": dataclasses.replace(HPARAMS, precision="float16"),
    "deep": dataclasses.replace(HPARAMS, architecture="deep", label_smoothing=0.1),
}


@pytest.mark.parametrize("hparams", RESUMED.values(), ids=RESUMED)
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(hparams, tmp_path, caplog):
    left = tmp_path / "left"
    unbroken = CopiedAfter(tmp_path / "all", left, epoch=2)
    expected, history = train(hparams, checkpoints=unbroken)
    with caplog.at_level("INFO", logger="trainer.progress"):
        resumed, continued = train(hparams, checkpoints=Checkpoints(left, KEY))
    assert "resumed after epoch 2" in [record.getMessage() for record in caplog.records]
    assert without_seconds(continued) == without_seconds(history)
    for value, weight in zip(resumed.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_a_training_that_was_stopped_after_its_last_epoch_trains_no_more(tmp_path):
    with pytest.raises(Stopped):
        train(checkpoints=StopsAfter(tmp_path, epoch=4))
    served, history = train(checkpoints=Checkpoints(tmp_path, KEY), train_split=separable(64, 9))
    assert len(history) == 4
    expected, _ = trained()
    np.testing.assert_array_equal(served.get_weights()[0], expected.get_weights()[0])


def test_machines_agree_on_the_training_and_on_the_epoch_after_which_it_goes_on(
    tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(loop, "require_agreement", lambda _, what: asked.append(what))
    short = dataclasses.replace(HPARAMS, epochs=1)
    with pytest.raises(Stopped):
        train(short, checkpoints=StopsAfter(tmp_path, epoch=1))
    train(short, checkpoints=Checkpoints(tmp_path, KEY))
    assert asked == [f"{KEY} 0", f"{KEY} 1"]


def test_a_resumed_training_counts_on_and_tensorboard_has_all_epochs(tmp_path, caplog):
    with pytest.raises(Stopped):
        train(checkpoints=StopsAfter(tmp_path / "kept", epoch=2))
    caplog.clear()
    with caplog.at_level("INFO", logger="trainer.progress"):
        train(checkpoints=Checkpoints(tmp_path / "kept", KEY), log_dir=str(tmp_path / "logs"))
    ends = [r.progress for r in caplog.records if getattr(r, "progress", None)]
    assert [(end.epoch, end.step) for end in ends if end.epoch_ended] == [(3, 12), (4, 16)]
    assert [step for step, _ in logged(tmp_path / "logs")] == [1, 2, 3, 4]


def test_the_average_of_the_weights_is_what_is_evaluated():
    last, _ = trained()
    averaged, history = train(dataclasses.replace(HPARAMS, averaging=0.9))
    assert history[-1].eval_accuracy == 1.0
    evaluation = separable(32, seed=2)
    logits = averaged(evaluation.normalized(evaluation.images), training=False)
    loss = np.mean(tf.nn.softmax_cross_entropy_with_logits(evaluation.labels, logits))
    assert loss == pytest.approx(history[-1].eval_loss, rel=1e-5)
    assert np.any(last.get_weights()[0] != averaged.get_weights()[0])


def test_the_average_moves_by_its_decay_and_at_first_by_more():
    network = build_model(HPARAMS, image_shape=(8, 8, 1), num_classes=2)
    average = WeightAverage(network, 0.3)
    start = network.get_weights()
    still = [weight + 1.0 for weight in start]
    network.set_weights(still)
    for steps in range(1, 4):
        average.move(tf.constant(steps))
    left = 2 / 11 * 3 / 12 * 0.3
    for found, after, before in zip(average.weights(), still, start, strict=True):
        np.testing.assert_allclose(found, after + left * (before - after), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_each_step_has_the_learning_rate_of_the_schedule(precision):
    _, history = train(dataclasses.replace(HPARAMS, schedule="one_cycle", precision=precision))
    last_steps = [4 * epoch.number - 1 for epoch in history]
    expected = [float(learning_rate_at(s, HPARAMS, total_steps=16)) for s in last_steps]
    assert [epoch.learning_rate for epoch in history] == pytest.approx(expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_other_precisions_learn_as_well_and_leave_float32(precision):
    served, history = train(dataclasses.replace(HPARAMS, precision=precision))
    assert history[-1].eval_accuracy == 1.0
    assert {weight.dtype for weight in served.get_weights()} == {np.dtype("float32")}
    assert {layer.compute_dtype for layer in served.layers} == {"float32"}


def test_compiled_by_xla_it_learns_the_same():
    _, history = trained()
    _, compiled = train(dataclasses.replace(HPARAMS, jit_compile=True))
    losses, expected = ([epoch.loss for epoch in epochs] for epochs in (compiled, history))
    # Late losses are thousandths of the first, and rounding, another on each processor, moves them.
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=5e-4)


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
    expected = [(epoch.number, pytest.approx(epoch.eval_accuracy)) for epoch in history]
    assert logged(tmp_path) == expected


_TWO_REPLICAS = """
import importlib.util, json, pathlib, sys
import tests.trainer  # before a library makes another folder's "tests" the first one
spec = importlib.util.spec_from_file_location("test_loop", sys.argv[1])
test_loop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test_loop)
import tensorflow as tf
from trainer.checkpoints import Checkpoints
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.state import State
from trainer.strategy import mirrored_strategy, prepare_devices
prepare_devices(2)
from tests.trainer.test_batches import stored

def train(replicas, checkpoints=None, splits={}, **changes):
    hparams = HParams(
        epochs=3,
        per_replica_batch=16 // replicas,
        max_rotation=10.0,
        max_zoom=0.1,
        averaging=0.9,
        label_smoothing=0.1,
        **changes,
    )
    served, history = test_loop.train(
        hparams, strategy=strategies[replicas], checkpoints=checkpoints, **splits
    )
    weights[len(weights)] = [weight.tolist() for weight in served.get_weights()]
    return [epoch.loss for epoch in history] + [epoch.eval_loss for epoch in history]

# One of each for all trainings: TensorFlow mixes up what the replicas of several ones exchange.
strategies = {replicas: mirrored_strategy(replicas) for replicas in (1, 2)}
weights = {}
try:
    train(2, jit_compile=True)
    refused = None
except ValueError as error:
    refused = str(error)

losses = {"one": train(1), "two": train(2)}
root = pathlib.Path(sys.argv[2])
try:
    train(2, checkpoints=test_loop.StopsAfter(root, epoch=2))
except test_loop.Stopped:
    losses["resumed"] = train(2, checkpoints=Checkpoints(root, test_loop.KEY))
in_memory = {"train_split": test_loop.separable(64, 1), "eval_split": test_loop.separable(32, 2)}
in_files = {name: stored(split, sys.argv[2]) for name, split in in_memory.items()}
for replicas in (1, 2):
    losses[f"{replicas} from files"] = train(replicas, splits=in_files)
same = [weights[3] == weights[0], weights[4] == weights[1]]

strategy = strategies[2]
dropping = HParams(architecture="article", dropout=0.5)
spec = ImageSpec((8, 8, 1), ("a", "b"))
begun, resumed = (State(dropping, spec, strategy, seed=3, total_steps=9) for _ in range(2))

def answers(state):
    def of_replica():
        return state.model(tf.ones([1, 8, 8, 1]), training=True)
    run = tf.function(lambda: strategy.run(of_replica), autograph=False)
    return [one.numpy().tolist() for one in strategy.experimental_local_results(run())]

masks = [answers(begun)]
resumed.restore(begun.checkpoint())
masks += [answers(begun), answers(resumed)]
penalized = test_loop.penalized_kernels(strategies)
print(json.dumps(losses | {"refused": refused, "same": same, "masks": masks} | penalized))
"""


def penalized_kernels(strategies: dict[int, tf.distribute.Strategy]) -> dict[str, list]:
    """A kernel with a penalty on it as Keras's own loop trains it, and as ours does."""

    def features(image, hparams):
        penalty = keras.regularizers.L2(0.1)
        return keras.layers.Dense(4, kernel_regularizer=penalty)(keras.layers.Flatten()(image))

    ARCHITECTURES.add("penalized", Architecture("", min_side=8, build=features))
    # Each step is an epoch, so that the order does not count.
    hparams = HParams(architecture="penalized", epochs=20, schedule="constant", max_shift=0)
    keras.utils.set_random_seed(5)
    network = build_model(hparams, image_shape=(8, 8, 1), num_classes=2)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(hparams.learning_rate), loss)
    split = separable(64, seed=1)
    images = split.normalized(split.images)
    network.fit(images, split.labels, batch_size=64, epochs=20, shuffle=False, verbose=0)
    kernels = {"keras": network.get_weights()[0].tolist()}
    for replicas, strategy in strategies.items():
        own = dataclasses.replace(hparams, per_replica_batch=64 // replicas)
        served, _ = train(own, strategy=strategy)
        kernels[f"{replicas} penalized"] = served.get_weights()[0].tolist()
    return kernels


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """Losses of one, of two, of two that were stopped and went on; why XLA was refused; what two
    answer to one image while they drop units; the kernel with a penalty of Keras, of
    one and of two.
    """
    said = in_own_process(_TWO_REPLICAS, __file__, str(tmp_path_factory.mktemp("two")))
    return json.loads(said.splitlines()[-1])


@pytest.mark.slow
def test_two_replicas_train_as_one_does(replicas):
    # Sums in another order; Adam makes more of the last digits with every step.
    np.testing.assert_allclose(replicas["two"], replicas["one"], rtol=5e-3)


def test_two_replicas_that_were_stopped_end_as_if_they_had_not_been(replicas):
    assert replicas["resumed"] == replicas["two"]


def test_one_and_two_replicas_train_from_files_to_the_bits_of_memory(replicas):
    assert replicas["1 from files"] == replicas["one"]
    assert replicas["2 from files"] == replicas["two"]
    assert replicas["same"] == [True, True]


def test_each_replica_drops_other_units_and_a_stopped_one_goes_on_with_its_own(replicas):
    first, second, resumed = replicas["masks"]
    assert len({str(answer) for answer in (*first, *second)}) == 4  # of the same image and weights
    assert resumed == second


@pytest.mark.parametrize("count", [1, 2])
def test_a_penalty_on_a_weight_counts_once_as_with_keras(replicas, count):
    np.testing.assert_allclose(replicas[f"{count} penalized"], replicas["keras"], atol=1e-4)


def test_xla_is_refused_with_several_replicas(replicas):
    assert replicas["refused"].startswith("training.jit_compile is true with 2 replicas, expected")
