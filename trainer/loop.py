"""One training loop for every tf.distribute strategy.

It replaces `model.fit`, which fails under several strategies with Keras 3 (docs/decisions/0002).

Synopsis::

    train_split = LoadedSplit(images, labels, levels)       # tensors, from files or arrays alike
    model, epochs = train(
        HParams(epochs=3),
        spec=ImageSpec((28, 28, 1), ("cat", "dog")),
        train_split=train_split,
        eval_split=eval_split,
        strategy=mirrored_strategy(),
        seed=0,
    )
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from trainer import progress
from trainer.augmentation import make_augmentation
from trainer.batches import TrainingBatches
from trainer.checkpoints import Checkpoints
from trainer.device_memory import enough_for
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.inputs import LoadedSplit
from trainer.normalization import require_batch
from trainer.optimizer import apply_gradients
from trainer.reporter import Reporter
from trainer.state import Epoch, State
from trainer.strategy import require_agreement

# (number of the first step from 0 on, how many; int32) -> (sum of the batches' mean losses, number
# right; float64).
_TrainSteps = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

_EVAL_BATCH = 1000  # images at most, and these bytes of them
_EVAL_BYTES = 16 << 20


class TrainingDiverged(ArithmeticError):
    """The loss became NaN or infinite."""


def train(
    hparams: HParams,
    *,
    spec: ImageSpec,
    train_split: LoadedSplit,
    eval_split: LoadedSplit,
    strategy: tf.distribute.Strategy,
    seed: int,
    log_dir: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, list[Epoch]]:
    """Builds a network and trains it.

    Args:
      hparams: with `patience`, `eval_split` decides which epoch's weights are taken.
      strategy: one of `trainer.strategy`, for a single device too: TensorFlow's default strategy
        does not name its devices.
      seed: of the first weights, the order and the augmentation.
      log_dir: of TensorBoard's event files; None writes none.
      checkpoints: resumes from the latest one and writes one per epoch; None does neither.

    Returns:
      The network in float32, outside of the strategy, and the epochs in order. It holds the weights
      of the last epoch, or with `patience` of the one with the smallest loss on eval; with
      `averaging`, their average over the steps.

    Raises:
      TrainingDiverged: the loss on train or on eval became NaN or infinite.
      OutOfMemory: the memory of a device is used up.
      ValueError: the global batch is larger than the training split, or too small for the network;
        the labels are of another number of classes; or XLA is to compile for several replicas.
    """
    spec.require_classes(train_split.labels.shape[1])
    batches = TrainingBatches(
        train_split,
        batch=hparams.per_replica_batch * strategy.num_replicas_in_sync,
        seed=seed,
        augmentation=make_augmentation(hparams),
        strategy=strategy,
    )
    steps = batches.steps_per_epoch
    _require_compilable(hparams, strategy)
    with enough_for(
        "the training",
        remedy=f"set training.per_replica_batch below {hparams.per_replica_batch} or "
        "training.input=stream, or take a smaller network",
    ):
        state = State(hparams, spec, strategy, seed=seed, total_steps=hparams.epochs * steps)
        require_batch(state.model, batches.batch)
        if checkpoints:
            _resume(state, checkpoints, strategy)
        reporter = Reporter(
            steps_per_epoch=steps, epochs=hparams.epochs, history=state.history, log_dir=log_dir
        )
        train_steps = _train_steps(state, batches, strategy, hparams)
        evaluate = _evaluation(state.served, eval_split)
        while not state.is_over:
            epoch = _run_epoch(state, batches, train_steps, evaluate, hparams, reporter)
            state.end_epoch(epoch)
            if checkpoints:
                checkpoints.save(state.checkpoint())
            reporter.epoch_ended(epoch)
        state.finish()
        batches.close()
    return state.served, state.history


def _require_compilable(hparams: HParams, strategy: tf.distribute.Strategy) -> None:
    if hparams.jit_compile and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"training.jit_compile is true with {strategy.num_replicas_in_sync} replicas, expected "
            "one: XLA cannot compile what the replicas do together; set training.jit_compile=false"
        )


def _resume(state: State, checkpoints: Checkpoints, strategy: tf.distribute.Strategy) -> None:
    found = checkpoints.latest()
    require_agreement(strategy, f"{checkpoints.key} {found.epoch if found else 0}")
    if found is not None:
        state.restore(found)
        progress.LOGGER.info("resumed after epoch %d", found.epoch)


def _run_epoch(
    state: State,
    batches: TrainingBatches,
    train_steps: _TrainSteps,
    evaluate: Callable[[], tuple[float, float]],
    hparams: HParams,
    reporter: Reporter,
) -> Epoch:
    start, number = time.monotonic(), len(state.history) + 1
    loss, accuracy = _train_epoch(number - 1, batches, train_steps, reporter)
    _require_finite("the loss", loss, number, hparams)
    state.serve_weights()
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


def _train_epoch(
    epoch: int, batches: TrainingBatches, train_steps: _TrainSteps, reporter: Reporter
) -> tuple[float, float]:
    """Trains for an epoch, counted from 0 on; returns the mean loss and the accuracy."""
    loss, correct, steps = 0.0, 0.0, batches.steps_per_epoch
    ahead = itertools.chain(batches.calls(epoch), batches.calls(epoch + 1))
    batches.expect(*next(ahead))
    for first, count in batches.calls(epoch):
        batches.expect(*next(ahead))
        of_call = train_steps(tf.constant(first), tf.constant(count))
        loss, correct = loss + float(of_call[0]), correct + float(of_call[1])
        reporter.steps_done(count)
    return loss / steps, correct / (steps * batches.batch)


def _train_steps(
    state: State,
    batches: TrainingBatches,
    strategy: tf.distribute.Strategy,
    hparams: HParams,
) -> _TrainSteps:
    """Returns a function that makes many steps, all in one graph: Python is waited for once in many
    steps.
    """
    model, optimizer, average = state.model, state.optimizer, state.average
    smoothing, classes = hparams.label_smoothing, model.output_shape[-1]

    regularized = [weight for weight in model.trainable_variables if weight.regularizer]

    def differentiate(
        images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        targets = labels * (1.0 - smoothing) + smoothing / classes  # [b, classes]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)  # [b, classes] float32
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)  # [b]
            # Divided by the global batch, so that the replicas' gradients add up to its mean.
            loss = tf.reduce_sum(losses) / batches.batch
            penalty = sum(one.regularizer(one) for one in regularized)
            scaled = optimizer.scale_loss(loss + penalty / strategy.num_replicas_in_sync)
        return loss, logits, tape.gradient(scaled, model.trainable_variables)

    if hparams.jit_compile:
        differentiate = tf.function(differentiate, autograph=False, jit_compile=True)

    def replica_step(
        data: tuple[tf.Tensor, ...], drawn: tuple[tf.Tensor, tf.Tensor], place: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batches.share(data, drawn, place)
        loss, logits, gradients = differentiate(images, labels)
        apply_gradients(optimizer, gradients, model.trainable_variables)
        return loss, _count_correct(logits, labels)

    @tf.function(autograph=False)
    def train_steps(first: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn = batches.draw(first, count)

        def step(place: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            state.set_learning_rate()
            of_step = strategy.run(replica_step, args=(batches.data, drawn, place))
            if average is not None:
                average.move(state.optimizer.iterations)
            added = (
                total
                + tf.cast(strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None), tf.float64)
                for total, value in zip(sums, of_step, strict=True)
            )
            return place + 1, *added

        zero = tf.constant(0.0, tf.float64)
        _, loss, correct = tf.while_loop(
            lambda place, *_: place < count, step, (tf.constant(0), zero, zero)
        )
        return loss, correct

    return train_steps


def _evaluation(model: keras.Model, split: LoadedSplit) -> Callable[[], tuple[float, float]]:
    """Returns a function that evaluates: () -> (mean cross-entropy, accuracy) over the split."""

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(images, training=False)
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), _count_correct(logits, labels)

    image_bytes = math.prod(split.images.shape[1:]) * tf.float32.size
    batch = max(1, min(_EVAL_BATCH, _EVAL_BYTES // image_bytes))

    def evaluate() -> tuple[float, float]:
        loss = correct = 0.0
        for start in range(0, len(split), batch):
            part = slice(start, start + batch)
            with tf.device("CPU:0"):  # else a GPU would be given the whole split for each part
                images, labels = split.images[part], split.labels[part]
            batch_loss, hits = step(split.normalized(images), labels)
            loss += float(batch_loss)
            correct += float(hits)
        return loss / len(split), correct / len(split)

    return evaluate


def _count_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    hits = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(labels, axis=-1))
    return tf.reduce_sum(tf.cast(hits, tf.float32))
