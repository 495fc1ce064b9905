"""One training loop for every tf.distribute strategy.

Synopsis::

    history = train(model, train_split=train, eval_split=evaluation, hparams=HParams(),
                    strategy=strategy, seed=1)

Why not `model.fit`: with Keras 3 it fails under several strategies (docs/decisions/0002).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer import inputs, progress, schedule
from trainer.hparams import HParams
from trainer.strategy import global_batch

_EVAL_BATCH = 1000
_PROGRESS_INTERVAL_S = 0.5


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a number."""


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Result of one epoch; losses are mean cross-entropies in nats, accuracies are 0..1."""

    number: int
    loss: float
    accuracy: float
    eval_loss: float
    eval_accuracy: float
    learning_rate: float
    seconds: float


class _Totals(NamedTuple):
    loss: Any  # sum over steps of the mean loss of the global batch
    correct: Any  # examples whose most probable class is the label


def train(
    model: keras.Model,
    *,
    train_split: inputs.Split,
    eval_split: inputs.Split,
    hparams: HParams,
    strategy: tf.distribute.Strategy,
    seed: int,
    log_dir: str | None = None,
) -> list[Epoch]:
    """Trains `model` in place.

    Args:
      model: built in the scope of `strategy`; gives logits.
      train_split: N examples.
      eval_split: looked at after each epoch; decides nothing unless `hparams.patience` is set.
      hparams: optimizer, schedule, batch, epochs, patience.
      strategy: its replicas share each global batch.
      seed: of the order and the shifts.
      log_dir: where TensorBoard's event files go; None writes none.

    Returns:
      The epochs in order. The model holds the last one's weights, or with `patience` those of
      the epoch with the smallest loss on eval.

    Raises:
      TrainingDiverged: the loss on train or on eval became NaN or infinite.
      ValueError: the global batch is larger than the training split.
    """
    batch = global_batch(per_replica_batch=hparams.per_replica_batch, strategy=strategy)
    steps = inputs.steps_per_epoch(len(train_split), batch)
    with strategy.scope():
        optimizer = _optimizer(hparams, total_steps=hparams.epochs * steps)
        optimizer.build(model.trainable_variables)
    step_fn = _train_step(model, optimizer, strategy, batch, hparams.label_smoothing)
    eval_fn = _eval_step(model)
    batches = iter(
        strategy.experimental_distribute_dataset(
            inputs.training_batches(
                train_split,
                batch=batch,
                epochs=hparams.epochs,
                seed=seed,
                max_shift=hparams.max_shift,
            )
        )
    )
    reporter = _Reporter(steps_per_epoch=steps, epochs=hparams.epochs)
    writer = tf.summary.create_file_writer(log_dir) if log_dir else None
    best = _Best(hparams.patience)
    history: list[Epoch] = []
    for number in range(1, hparams.epochs + 1):
        start = time.monotonic()
        totals = _run_steps(step_fn, batches, steps, reporter)
        loss = float(totals.loss) / steps
        _require_finite("the loss", loss, number, hparams)
        eval_loss, eval_accuracy = _evaluate(eval_fn, eval_split)
        _require_finite("the loss on eval", eval_loss, number, hparams)
        epoch = Epoch(
            number=number,
            loss=loss,
            accuracy=float(totals.correct) / (steps * batch),
            eval_loss=eval_loss,
            eval_accuracy=eval_accuracy,
            learning_rate=float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
            seconds=time.monotonic() - start,
        )
        history.append(epoch)
        reporter.epoch_ended(epoch)
        if writer:
            _summarize(writer, epoch)
        if best.should_stop(epoch, model):
            break
    best.restore(model)
    return history


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
    return kinds[hparams.optimizer](learning_rate=rate)


def _train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    batch: int,
    label_smoothing: float,
) -> Any:
    """One step over all replicas: iterator -> (mean loss of the global batch, correct answers)."""
    classes = model.output_shape[-1]

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        targets = labels * (1.0 - label_smoothing) + label_smoothing / classes  # [b, classes]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)  # [b, classes]
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)  # [b]
            # Divided by the global batch, so that the replicas' gradients add up to its mean.
            loss = tf.reduce_sum(losses) / batch
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, _count_correct(logits, labels)

    @tf.function(autograph=False)
    def step(batches: Iterator[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = strategy.run(replica_step, args=next(batches))
        total = tf.distribute.ReduceOp.SUM
        return strategy.reduce(total, loss, axis=None), strategy.reduce(total, correct, axis=None)

    return step


def _eval_step(model: keras.Model) -> Any:
    @tf.function(autograph=False, reduce_retracing=True)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(images, training=False)
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), _count_correct(logits, labels)

    return step


def _count_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    hits = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(labels, axis=-1))
    return tf.reduce_sum(tf.cast(hits, tf.float32))


def _run_steps(step_fn: Any, batches: Any, steps: int, reporter: _Reporter) -> _Totals:
    losses, correct = [], []
    for _ in range(steps):
        loss, hits = step_fn(batches)
        losses.append(loss)
        correct.append(hits)
        reporter.step_done()
    return _Totals(loss=np.sum(losses, dtype=np.float64), correct=np.sum(correct, dtype=np.float64))


def _evaluate(eval_fn: Any, split: inputs.Split) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) over a split."""
    loss = correct = 0.0
    for start in range(0, len(split), _EVAL_BATCH):
        part = slice(start, start + _EVAL_BATCH)
        batch_loss, hits = eval_fn(split.images[part], split.labels[part])
        loss += float(batch_loss)
        correct += float(hits)
    return loss / len(split), correct / len(split)


def _summarize(writer: Any, epoch: Epoch) -> None:
    with writer.as_default(step=epoch.number):
        for name, value in dataclasses.asdict(epoch).items():
            if name != "number":
                tf.summary.scalar(name, value)
    writer.flush()


class _Best:
    """Early stopping: remembers the weights with the smallest loss on eval."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._epoch: Epoch | None = None
        self._weights: list[np.ndarray] = []

    def should_stop(self, epoch: Epoch, model: keras.Model) -> bool:
        if not self._patience:
            return False
        if self._epoch is None or epoch.eval_loss < self._epoch.eval_loss:
            self._epoch, self._weights = epoch, model.get_weights()
        return epoch.number - self._epoch.number >= self._patience

    def restore(self, model: keras.Model) -> None:
        if self._epoch is not None:
            model.set_weights(self._weights)


class _Reporter:
    """Turns steps into `trainer.progress` records, a few per second at most."""

    def __init__(self, *, steps_per_epoch: int, epochs: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        self._start = self._last = time.monotonic()
        self._step = 0
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
        progress.report(
            progress.Progress(
                step=self._step,
                total_steps=total,
                epoch=epoch,
                epochs=self._epochs,
                seconds_left=(self._last - self._start) / self._step * (total - self._step),
                eval_accuracy=self._eval_accuracy,
                epoch_ended=ended,
            )
        )
