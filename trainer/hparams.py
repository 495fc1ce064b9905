"""Hyper-parameters of one training, frozen and self-checking.

Synopsis::

    hparams = HParams(epochs=5, learning_rate=0.01)
    HParams.from_config(hparams.to_config()) == hparams
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from trainer.architectures import ARCHITECTURES
from trainer.host.text import quoted

OPTIMIZERS = ("adam", "adadelta")
SCHEDULES = ("one_cycle", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")
MAX_WIDTH = 16.0  # a typing error would be found by a machine without memory


@dataclasses.dataclass(frozen=True)
class HParams:
    """What decides how a model is trained, apart from the data and the seed.

    Attributes:
      architecture: "convnet" (two small convolutions), "deep" (five, each with batch
        normalization) or "article" (the article's network).
      width: times the architecture's own numbers of channels and units; above 0.
      epochs: passes over the training split, at least 1.
      per_replica_batch: examples per replica and step; the global batch is this times the replicas.
      optimizer: "adam" or "adadelta".
      learning_rate: the peak of the one-cycle schedule, or the constant rate; above 0.
      schedule: "one_cycle" or "constant".
      dropout: fraction of units dropped before the last layer, 0 up to but not 1; "deep" drops it
        behind each pooling and before its dense layer as well, "article" half of it behind its
        convolutions.
      weight_decay: fraction of a weight that each step takes away, times the learning rate, not of
        biases and normalization (Loshchilov and Hutter 2019, arXiv 1711.05101); 0 up to but not 1.
      label_smoothing: weight moved from the label to all classes alike, 0 up to but not 1. It
        raises the cross-entropy on purpose, and the release gate bounds that.
      max_shift: largest shift of a training image in each direction, pixels.
      max_rotation: largest rotation of a training image either way, degrees, 0 to 180.
      max_zoom: largest change of a training image's size, as a fraction, 0 up to but not 1.
      averaging: of the weights over the steps: what is evaluated and exported is their exponential
        moving average with this decay per step, 0 (the last step's own weights) up to but not 1.
      patience: epochs without a better loss on eval after which training stops and the best
        epoch's weights are taken; 0 trains all epochs and takes the last one's.
      precision: of the layers while training, "float32", "bfloat16" or "float16"; weights, loss
        and the exported model are float32.
      jit_compile: whether XLA compiles the forward and backward pass; not with several replicas.
      deterministic: whether every operation must give the same bits each time.
    """

    architecture: str = "convnet"
    width: float = 1.0
    epochs: int = 5
    per_replica_batch: int = 256
    optimizer: str = "adam"
    learning_rate: float = 0.01
    schedule: str = "one_cycle"
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    max_shift: int = 2
    max_rotation: float = 0.0
    max_zoom: float = 0.0
    averaging: float = 0.0
    patience: int = 0
    precision: str = "float32"
    jit_compile: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _at_least("epochs", self.epochs, 1)
        _at_least("per_replica_batch", self.per_replica_batch, 1)
        _at_least("max_shift", self.max_shift, 0)
        _at_least("patience", self.patience, 0)
        if not 0.0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a number above 0")
        if not 0.0 < self.width <= MAX_WIDTH:
            raise ValueError(f"width is {self.width}, expected above 0, up to {MAX_WIDTH:g}")
        if not 0.0 <= self.max_rotation <= 180.0:
            raise ValueError(f"max_rotation is {self.max_rotation}, expected 0 to 180 degrees")
        for name in ("dropout", "weight_decay", "label_smoothing", "max_zoom", "averaging"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} is {value}, expected 0 up to but not 1")

    def to_config(self) -> dict[str, Any]:
        """As JSON-able values, for TFX's `custom_config`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HParams:
        return cls(**config)


def _one_of(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {quoted(value)}, expected one of {', '.join(known)}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}, expected {least} or more")
