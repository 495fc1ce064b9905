"""Hyper-parameters of one training, frozen and self-checking.

Synopsis::

    hparams = HParams(epochs=5, learning_rate=0.01)
    HParams.from_config(hparams.to_config()) == hparams
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

ARCHITECTURES = ("convnet", "article")
OPTIMIZERS = ("adam", "adadelta")
SCHEDULES = ("one_cycle", "constant")
MIN_IMAGE_SIDE = 8  # pixels: the architectures pool smaller images away


@dataclasses.dataclass(frozen=True)
class HParams:
    """What decides how a model is trained, apart from the data and the seed.

    Attributes:
      architecture: "convnet" (small, batch normalization) or "article" (the article's network).
      epochs: passes over the training split, at least 1.
      per_replica_batch: examples per replica and step; the global batch is this times the replicas.
      optimizer: "adam" or "adadelta".
      learning_rate: the peak of the one-cycle schedule, or the constant rate; above 0.
      schedule: "one_cycle" or "constant".
      dropout: fraction of units dropped before the last layer, 0 up to but not 1; "article" drops
        half of it after its convolutions as well.
      label_smoothing: weight moved from the label to all classes alike, 0 up to but not 1.
      max_shift: largest shift of a training batch in each direction, pixels; 0 shifts nothing.
      patience: epochs without a better loss on eval after which training stops and the best
        epoch's weights are taken; 0 trains all epochs and takes the last one's.
    """

    architecture: str = "convnet"
    epochs: int = 5
    per_replica_batch: int = 256
    optimizer: str = "adam"
    learning_rate: float = 0.01
    schedule: str = "one_cycle"
    dropout: float = 0.0
    label_smoothing: float = 0.0
    max_shift: int = 2
    patience: int = 0

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _at_least("epochs", self.epochs, 1)
        _at_least("per_replica_batch", self.per_replica_batch, 1)
        _at_least("max_shift", self.max_shift, 0)
        _at_least("patience", self.patience, 0)
        if not 0.0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a number above 0")
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} is {value}, expected 0 up to but not 1")

    def to_config(self) -> dict[str, Any]:
        """As JSON-able values, for TFX's `custom_config`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HParams:
        return cls(**config)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}, expected {least} or more")
