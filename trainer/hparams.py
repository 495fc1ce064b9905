"""The hyper-parameters of one training, which check themselves.

A plugin (`trainer.host.registry`) adds a hyper-parameter of its own, which is set by
`training.extra.NAME` and read, by a network for instance, as `hparams.extra["NAME"]`, where
`pipeline.config_model.build` puts the default (`HParams()` does not)::

    HYPER_PARAMETERS.add("heads", HyperParameter("attention heads", default=4, parse=int))
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from trainer.architectures import ARCHITECTURES
from trainer.host.fields import check, setting
from trainer.host.registry import Registry
from trainer.placement import AUTO, CHOICES


@dataclasses.dataclass(frozen=True)
class HyperParameter:
    """An entry of `HYPER_PARAMETERS`.

    The default is JSON-able; `parse` reads a text, and its ValueError says what is expected.
    `choices` are the only values that are allowed, and those that a search tries; without them any
    value is allowed, and none is searched for.
    """

    help: str
    default: Any
    parse: Callable[[str], Any]
    choices: tuple[Any, ...] = ()


HYPER_PARAMETERS: Registry[HyperParameter] = Registry("hyper-parameter")


@dataclasses.dataclass(frozen=True)
class HParams:
    """Everything but the data and the seed that decides how a model is trained; and `input`, which
    decides no weight.
    """

    architecture: str = setting(
        "convnet",
        "the network",
        choices=ARCHITECTURES,
        pattern=r".+:[^:]+",
        hint="package.module:function or net.py:function",
    )
    weights: str = setting(
        "",
        "what the training starts from: a .weights.h5 file of Keras, or the directory of a "
        "released version; empty starts from random weights",
        is_path=True,
    )
    width: float = setting(
        1.0,
        "factor on the architecture's own numbers of channels and units",
        gt=0,
        le=16,  # a typing error would be found by a machine without memory
    )
    epochs: int = setting(5, "passes over the training split", ge=1)
    per_replica_batch: int = setting(
        256, "examples per replica and step; the global batch is this times the replicas", ge=1
    )
    optimizer: str = setting("adam", "the optimizer", choices=("adam", "adadelta"))
    learning_rate: float = setting(
        0.01, "peak of the one-cycle schedule, or the constant rate", gt=0
    )
    schedule: str = setting(
        "one_cycle", "the learning rate's course", choices=("one_cycle", "constant")
    )
    dropout: float = setting(
        0.0,
        "fraction of units dropped before the last layer; deep also drops it after each pooling "
        "and before its dense layer, article half of it after its convolutions",
        ge=0,
        lt=1,
    )
    weight_decay: float = setting(
        0.0,
        "fraction of a weight that each step takes away, times the learning rate; not of biases "
        "and normalization (Loshchilov and Hutter 2019, arXiv 1711.05101)",
        ge=0,
        lt=1,
    )
    label_smoothing: float = setting(
        0.0,
        "weight moved from the label to all classes alike; it raises the cross-entropy on "
        "purpose, which the release gate bounds",
        ge=0,
        lt=1,
    )
    max_shift: int = setting(2, "largest shift of a training image in each direction, pixels", ge=0)
    max_rotation: float = setting(
        0.0, "largest rotation of a training image either way, degrees", ge=0, le=180
    )
    max_zoom: float = setting(
        0.0, "largest change of a training image's size, as a fraction", ge=0, lt=1
    )
    horizontal_flip: bool = setting(
        False, "whether every other training image, by chance, is mirrored left and right"
    )
    color_jitter: float = setting(
        0.0,
        "largest change of a training image's brightness, contrast and saturation, as a fraction",
        ge=0,
        lt=1,
    )
    averaging: float = setting(
        0.0,
        "decay per step of the exponential moving average of the weights that is evaluated and "
        "exported; 0 takes the last step's own weights",
        ge=0,
        lt=1,
    )
    patience: int = setting(
        0,
        "epochs without a better loss on eval after which training stops and the best epoch's "
        "weights are taken; 0 trains all epochs and takes the last one's",
        ge=0,
    )
    precision: str = setting(
        "float32",
        "of the layers while training; weights, loss and the exported model are float32",
        choices=("float32", "bfloat16", "float16"),
    )
    jit_compile: bool = setting(
        False, "whether XLA compiles the forward and backward pass; not with several replicas"
    )
    deterministic: bool = setting(
        False, "whether every operation must give the same bits each time"
    )
    input: str = setting(
        AUTO,
        "where the decoded images lie: memory, stream (a scratch file: for sets that are larger "
        "than memory), or auto, which goes by their size; the weights are the same",
        choices=CHOICES,
    )
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    # What the files that were named held when the configuration was read: the source text of
    # `architecture`, the hex SHA-256 of `weights`.
    found: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check(self, "training")

    def to_config(self) -> dict[str, Any]:
        """Returns JSON-able values, for TFX's `custom_config` and other keys: without `input`."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "input"}

    def to_settings(self) -> dict[str, Any]:
        """Returns `to_config` without `found`, which no configuration can set."""
        return {key: value for key, value in self.to_config().items() if key != "found"}

    def to_record(self) -> dict[str, Any]:
        """Returns `to_settings`, and `found` with the source's hex SHA-256 instead of its text."""
        found = dict(self.found)
        if source := found.get("architecture"):
            found["architecture"] = hashlib.sha256(source.encode()).hexdigest()
        return {**self.to_settings(), "found": found}
