"""What changes while a network is trained, saved to checkpoints and restored from them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import progress
from trainer.checkpoints import Checkpoint
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.optimizer import learning_rate_at, make_optimizer
from trainer.weights import start_from

_BEST = "best."
_DRAWS_OF_REPLICA = 1 << 32  # of random numbers, before those of the next replica come


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Result of one epoch; losses are mean cross-entropies in nats, accuracies are 0..1.

    `learning_rate` is that of its last step.
    """

    number: int
    loss: float
    accuracy: float
    eval_loss: float
    eval_accuracy: float
    learning_rate: float
    seconds: float


class WeightAverage:
    """Exponential moving average of a network's weights over the steps, statistics of batch
    normalization included; a weight that is not float32, such as a counter, keeps its own value.

    It is one long vector, because a GPU takes longer to start an operation than to make a small one
    (docs/decisions/0033). As in TensorFlow's ExponentialMovingAverage, the inertia is
    smaller in the first steps, when there is little to average.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._model, self._decay = model, decay
        self._vector = tf.Variable(self._flat(), trainable=False)  # [all weights] float32

    def move(self, steps: tf.Tensor) -> None:
        """Moves it towards the present weights; `steps` is the number of steps done."""
        done = tf.cast(steps, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        self._vector.assign_add((1.0 - decay) * (self._flat() - self._vector))

    def weights(self) -> list[np.ndarray]:
        """Returns it in the form of `model.get_weights()`."""
        vector, weights = self._vector.numpy(), []
        for weight in self._model.weights:
            if not _is_averaged(weight):
                weights.append(keras.ops.convert_to_numpy(weight))
                continue
            size = int(np.prod(weight.shape))
            weights.append(vector[:size].reshape(weight.shape))
            vector = vector[size:]
        return weights

    def restore(self, weights: Sequence[np.ndarray]) -> None:
        """Takes the values that `weights` gave."""
        own = zip(self._model.weights, weights, strict=True)
        averaged = [np.ravel(value) for weight, value in own if _is_averaged(weight)]
        self._vector.assign(np.concatenate(averaged))

    def _flat(self) -> tf.Tensor:
        averaged = [tf.reshape(one, [-1]) for one in self._model.weights if _is_averaged(one)]
        return tf.concat(averaged, axis=0)


def _is_averaged(weight: keras.Variable) -> bool:
    """Whether a weight is averaged; a counter, which is not float32, is not."""
    return bool(weight.dtype == "float32")


class State:
    """A training between two epochs.

    `served` is the network that is evaluated and exported, in float32 and outside of the strategy;
    `history` holds the finished epochs in order, including those of a killed process.
    """

    def __init__(
        self,
        hparams: HParams,
        spec: ImageSpec,
        strategy: tf.distribute.Strategy,
        *,
        seed: int,
        total_steps: int,
    ) -> None:
        build = functools.partial(
            build_model, image_shape=spec.image_shape, num_classes=spec.num_classes
        )
        keras.utils.set_random_seed(seed)
        with strategy.scope():
            self.model = build(hparams)
        served = dataclasses.replace(hparams, precision="float32")
        self.served = build(served)
        if hparams.weights:
            note = start_from(
                self.served, hparams, lambda classes: build(served, num_classes=classes)
            )
            if note:
                progress.LOGGER.info(note)
            self.model.set_weights(self.served.get_weights())
        with strategy.scope():
            self.optimizer = make_optimizer(hparams)
            self.optimizer.build(self.model.trainable_variables)
        self._strategy = strategy
        self._tell_replicas_apart()
        self.average = WeightAverage(self.model, hparams.averaging) if hparams.averaging else None
        self.history: list[Epoch] = []
        self._rate_at = functools.partial(
            learning_rate_at, hparams=hparams, total_steps=total_steps
        )
        self._epochs = hparams.epochs
        self._patience = hparams.patience
        self._best: dict[str, np.ndarray] = {}  # weights of the best epoch; with patience only

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` ones have no smaller eval loss."""
        done = len(self.history)
        waited = done and self._patience and done - self._best_epoch.number >= self._patience
        return bool(done == self._epochs or waited)

    def set_learning_rate(self) -> None:
        """Gives the optimizer the learning rate of its next step."""
        self.optimizer.learning_rate = self._rate_at(self.optimizer.iterations)

    def serve_weights(self) -> None:
        """Gives `served` the weights of `model`, or with `averaging` their average."""
        weights = self.average.weights() if self.average else self.model.get_weights()
        self.served.set_weights(weights)

    def end_epoch(self, epoch: Epoch) -> None:
        """Adds the epoch to the history, and keeps its weights if it is the best one."""
        self.history.append(epoch)
        if self._patience and self._best_epoch is epoch:
            weights = enumerate(self.served.get_weights())
            self._best = {f"{_BEST}{place}": value for place, value in weights}

    def finish(self) -> None:
        """Gives `served` the best epoch's weights; without `patience` it keeps the last one's."""
        if self._patience:
            self.served.set_weights(list(self._best.values()))

    def checkpoint(self) -> Checkpoint:
        arrays = {
            name: np.asarray(keras.ops.convert_to_numpy(variable))
            for name, variable in self._variables().items()
        }
        history = [dataclasses.asdict(epoch) for epoch in self.history]
        return Checkpoint(arrays={**arrays, **self._best}, history=history)

    def restore(self, checkpoint: Checkpoint) -> None:
        for name, variable in self._variables().items():
            variable.assign(checkpoint.arrays[name])
        self._tell_replicas_apart()
        if self.average:
            self.average.restore(self.served.get_weights())
        self._best = {
            name: value for name, value in checkpoint.arrays.items() if name.startswith(_BEST)
        }
        self.history = [Epoch(**facts) for facts in checkpoint.history]

    def _tell_replicas_apart(self) -> None:
        """Lets each replica draw other random numbers, as for dropout, from one state; the first
        one's, which a checkpoint holds, stays. Keras keeps a copy for each replica.
        """
        states = [one for one in self.model.variables if one.name == "seed_generator_state"]

        @tf.function(autograph=False)
        def move() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first = tf.stack([0, tf.cast(replica, tf.int64) * _DRAWS_OF_REPLICA])
            for state in states:  # [2]: the seed, and the number of draws
                state.assign(state + first)

        if states and self._strategy.num_replicas_in_sync > 1:
            self._strategy.run(move)

    def _variables(self) -> dict[str, Any]:
        owners = {"model": self.model, "optimizer": self.optimizer, "served": self.served}
        return {
            f"{name}.{place}": variable
            for name, owner in owners.items()
            # Not `weights`: these lack the state of the random numbers for dropout.
            for place, variable in enumerate(owner.variables)
        }

    @property
    def _best_epoch(self) -> Epoch:
        return min(self.history, key=lambda epoch: epoch.eval_loss)
