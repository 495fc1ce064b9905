"""One training loop for every tf.distribute strategy.

Synopsis::

    history = train(model, served, train_split=train, eval_split=evaluation, hparams=HParams(),
                    strategy=strategy, seed=1)
    served(images)      # the twin of `model` that holds what was learned

Why not `model.fit`: with Keras 3 it fails under several strategies (docs/decisions/0002).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import inputs, progress, schedule
from trainer.augmentation import augmentation
from trainer.checkpoints import Checkpoints
from trainer.events import Events
from trainer.hparams import HParams
from trainer.state import Epoch, State
from trainer.strategy import distribute, global_batch, require_agreement

_EVAL_BATCH = 1000
_PROGRESS_INTERVAL_S = 0.5


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a number."""


def train(
    model: keras.Model,
    served: keras.Model,
    *,
    train_split: inputs.Split,
    eval_split: inputs.Split,
    hparams: HParams,
    strategy: tf.distribute.Strategy,
    seed: int,
    log_dir: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[Epoch]:
    """Trains `model`, and gives `served` what came of it.

    Args:
      model: built in the scope of `strategy`; gives logits.
      served: its twin outside of the scope, in float32: what is evaluated, and to be exported.
      train_split: N examples.
      eval_split: looked at after each epoch; decides nothing unless `hparams.patience` is set.
      hparams: how to train; the architecture is the model's.
      strategy: its replicas share each global batch.
      seed: of the order and the augmentation.
      log_dir: where TensorBoard's event files go; None writes none.
      checkpoints: those of this very training: it goes on from the latest one, and writes one per
        epoch; None writes none.

    Returns:
      The epochs in order. `served` holds the weights of the last one, or with `patience` of the
      one with the smallest loss on eval; with `averaging`, their average over the steps.

    Raises:
      TrainingDiverged: the loss on train or on eval became NaN or infinite.
      ValueError: the global batch is larger than the training split, or XLA is to compile for
        several replicas.
    """
    if hparams.jit_compile and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"training.jit_compile is true with {strategy.num_replicas_in_sync} replicas, expected "
            "one: XLA cannot compile what the replicas do together; set training.jit_compile=false"
        )
    batch = global_batch(per_replica_batch=hparams.per_replica_batch, strategy=strategy)
    steps = inputs.steps_per_epoch(len(train_split), batch)
    with strategy.scope():
        optimizer = _optimizer(hparams, total_steps=hparams.epochs * steps)
        optimizer.build(model.trainable_variables)
    state = State(
        model=model,
        optimizer=optimizer,
        served=served,
        epochs=hparams.epochs,
        patience=hparams.patience,
    )
    events = Events(log_dir)
    if checkpoints:
        _resume(state, checkpoints, events, strategy)
    done = len(state.history)
    reporter = _Reporter(steps_per_epoch=steps, epochs=hparams.epochs, epochs_done=done)
    batches = inputs.training_batches(
        train_split,
        batch=batch,
        epochs=hparams.epochs,
        seed=seed,
        augment=augmentation(hparams),
        epochs_done=done,
    )
    run_steps = _training(
        state, strategy, batches, hparams, batch=batch, steps=steps, reporter=reporter
    )
    evaluate = _evaluation(served, eval_split)
    while not state.is_over:
        epoch = _run_epoch(state, run_steps, evaluate, hparams)
        state.end_epoch(epoch)
        if checkpoints:
            checkpoints.save(state.checkpoint())
        reporter.epoch_ended(epoch)
        events.write(epoch)
    state.finish()
    return state.history


def _resume(
    state: State, checkpoints: Checkpoints, events: Events, strategy: tf.distribute.Strategy
) -> None:
    """Takes over what a killed process has finished, if it has finished an epoch."""
    found = checkpoints.latest()
    require_agreement(strategy, f"{checkpoints.key} {found.epoch if found else 0}")
    if found is None:
        return
    state.restore(found)
    for epoch in state.history:
        events.write(epoch)
    progress.LOGGER.info("resumed after epoch %d", found.epoch)


def _run_epoch(
    state: State,
    run_steps: Callable[[], tuple[float, float]],
    evaluate: Callable[[], tuple[float, float]],
    hparams: HParams,
) -> Epoch:
    start, number = time.monotonic(), len(state.history) + 1
    loss, accuracy = run_steps()
    _require_finite("the loss", loss, number, hparams)
    if not hparams.averaging:
        state.served.set_weights(state.model.get_weights())
    eval_loss, eval_accuracy = evaluate()
    _require_finite("the loss on eval", eval_loss, number, hparams)
    return Epoch(
        number=number,
        loss=loss,
        accuracy=accuracy,
        eval_loss=eval_loss,
        eval_accuracy=eval_accuracy,
        learning_rate=float(keras.ops.convert_to_numpy(state.optimizer.learning_rate)),
        seconds=time.monotonic() - start,
    )


def _require_finite(name: str, loss: float, number: int, hparams: HParams) -> None:
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"{name} is {loss} in epoch {number} of {hparams.epochs}: set "
            f"training.learning_rate below {hparams.learning_rate:g}, or look at the data"
        )


def _optimizer(hparams: HParams, *, total_steps: int) -> keras.optimizers.Optimizer:
    rate: Any = hparams.learning_rate
    if hparams.schedule == "one_cycle":
        rate = schedule.OneCycle(hparams.learning_rate, total_steps)
    kinds = {"adam": keras.optimizers.Adam, "adadelta": keras.optimizers.Adadelta}
    optimizer = kinds[hparams.optimizer](
        learning_rate=rate, weight_decay=hparams.weight_decay or None
    )
    if hparams.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    if hparams.precision == "float16":  # small gradients would become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _training(
    state: State,
    strategy: tf.distribute.Strategy,
    batches: tf.data.Dataset,
    hparams: HParams,
    *,
    batch: int,
    steps: int,
    reporter: _Reporter,
) -> Callable[[], tuple[float, float]]:
    """A function that trains for one epoch: () -> (mean loss, accuracy)."""
    step = _train_step(state, strategy, hparams, batch)
    iterator = iter(distribute(batches, strategy))

    def run_steps() -> tuple[float, float]:
        losses, correct = [], []
        for _ in range(steps):
            loss, hits = step(iterator)
            losses.append(loss)
            correct.append(hits)
            reporter.step_done()
        examples = steps * batch
        return float(np.sum(losses, dtype=np.float64)) / steps, float(np.sum(correct)) / examples

    return run_steps


def _train_step(
    state: State, strategy: tf.distribute.Strategy, hparams: HParams, batch: int
) -> Callable[[Iterator[Any]], tuple[tf.Tensor, tf.Tensor]]:
    """One step over all replicas: iterator -> (mean loss of the global batch, correct answers)."""
    model, optimizer = state.model, state.optimizer
    smoothing, classes = hparams.label_smoothing, model.output_shape[-1]

    def differentiate(
        images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        targets = labels * (1.0 - smoothing) + smoothing / classes  # [b, classes]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)  # [b, classes] float32
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)  # [b]
            # Divided by the global batch, so that the replicas' gradients add up to its mean.
            loss = tf.reduce_sum(losses) / batch
            scaled = optimizer.scale_loss(loss)
        return loss, logits, tape.gradient(scaled, model.trainable_variables)

    if hparams.jit_compile:
        differentiate = tf.function(differentiate, autograph=False, jit_compile=True)

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, logits, gradients = differentiate(images, labels)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, _count_correct(logits, labels)

    @tf.function(autograph=False)
    def step(batches: Iterator[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = strategy.run(replica_step, args=next(batches))
        if hparams.averaging:
            _move_average(state, hparams.averaging)
        total = tf.distribute.ReduceOp.SUM
        return strategy.reduce(total, loss, axis=None), strategy.reduce(total, correct, axis=None)

    return step


def _move_average(state: State, decay: float) -> None:
    """Moves `served` towards `model`: an exponential moving average over the steps.

    In the first steps, when there is little to average, with less inertia (as TensorFlow's
    ExponentialMovingAverage does). The statistics of batch normalization are averaged like weights.
    """
    steps = tf.cast(state.optimizer.iterations, tf.float32)
    decay = tf.minimum(decay, (1.0 + steps) / (10.0 + steps))
    for mean, value in zip(state.served.weights, state.model.weights, strict=True):
        mean.assign_add((1.0 - decay) * (value - mean))


def _evaluation(model: keras.Model, split: inputs.Split) -> Callable[[], tuple[float, float]]:
    """A function that evaluates: () -> (mean cross-entropy, accuracy) over the split."""

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(images, training=False)
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), _count_correct(logits, labels)

    def evaluate() -> tuple[float, float]:
        loss = correct = 0.0
        for start in range(0, len(split), _EVAL_BATCH):
            part = slice(start, start + _EVAL_BATCH)
            batch_loss, hits = step(split.normalized(split.images[part]), split.labels[part])
            loss += float(batch_loss)
            correct += float(hits)
        return loss / len(split), correct / len(split)

    return evaluate


def _count_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    hits = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(labels, axis=-1))
    return tf.reduce_sum(tf.cast(hits, tf.float32))


class _Reporter:
    """Turns steps into `trainer.progress` records, a few per second at most."""

    def __init__(self, *, steps_per_epoch: int, epochs: int, epochs_done: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        self._start = self._last = time.monotonic()
        self._first = self._step = epochs_done * steps_per_epoch
        self._eval_accuracy: float | None = None

    def step_done(self) -> None:
        self._step += 1
        if time.monotonic() - self._last >= _PROGRESS_INTERVAL_S:
            self._report(epoch=(self._step - 1) // self._steps_per_epoch + 1, ended=False)

    def epoch_ended(self, epoch: Epoch) -> None:
        self._eval_accuracy = epoch.eval_accuracy
        self._report(epoch=epoch.number, ended=True)

    def _report(self, *, epoch: int, ended: bool) -> None:
        self._last = time.monotonic()
        total = self._steps_per_epoch * self._epochs
        seconds_per_step = (self._last - self._start) / (self._step - self._first)
        progress.report(
            progress.Progress(
                step=self._step,
                total_steps=total,
                epoch=epoch,
                epochs=self._epochs,
                seconds_left=seconds_per_step * (total - self._step),
                eval_accuracy=self._eval_accuracy,
                epoch_ended=ended,
            )
        )
