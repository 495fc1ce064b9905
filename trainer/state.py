"""What changes while a network is trained, saved to checkpoints and restored from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from trainer.checkpoints import Checkpoint


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


class State:
    """A training between two epochs.

    `served` is the network that is evaluated and exported; `history` holds the finished epochs in
    order, including those of a killed process.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        served: keras.Model,
        epochs: int,
        patience: int,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.served = served
        self.history: list[Epoch] = []
        self._epochs = epochs
        self._patience = patience
        self._best: list[np.ndarray] = []  # weights of the best epoch; with patience only

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` ones have no smaller eval loss."""
        done = len(self.history)
        waited = done and self._patience and done - self._best_epoch.number >= self._patience
        return bool(done == self._epochs or waited)

    def end_epoch(self, epoch: Epoch) -> None:
        """Adds the epoch to the history, and keeps its weights if it is the best one."""
        self.history.append(epoch)
        if self._patience and self._best_epoch is epoch:
            self._best = self.served.get_weights()

    def finish(self) -> None:
        """Gives `served` the best epoch's weights; without `patience` it keeps the last one's."""
        if self._patience:
            self.served.set_weights(self._best)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            epoch=len(self.history),
            arrays={
                # Not `weights`: these lack the state of the random numbers for dropout.
                "model": _values(self.model.variables),
                "optimizer": _values(self.optimizer.variables),
                "served": _values(self.served.variables),
                "best": self._best,
            },
            facts=[dataclasses.asdict(epoch) for epoch in self.history],
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        _assign(self.model.variables, checkpoint.arrays["model"])
        _assign(self.optimizer.variables, checkpoint.arrays["optimizer"])
        _assign(self.served.variables, checkpoint.arrays["served"])
        self._best = list(checkpoint.arrays["best"])
        self.history = [Epoch(**facts) for facts in checkpoint.facts]

    @property
    def _best_epoch(self) -> Epoch:
        return min(self.history, key=lambda epoch: epoch.eval_loss)


def _values(variables: Iterable[Any]) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
