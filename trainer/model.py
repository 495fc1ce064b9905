"""The network that the hyper-parameters name: normalized images in, logits out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from trainer.architectures import ARCHITECTURES
from trainer.hparams import HParams


def build_model(
    hparams: HParams, *, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Builds the network [B, H, W, C] float32 -> logits [B, num_classes] float32.

    Within a strategy of several replicas, batch normalization takes its statistics over all of
    them, so that they train like one.
    """
    image = keras.Input(shape=image_shape, name="image")
    with _layers_in(hparams.precision):
        features = ARCHITECTURES[hparams.architecture].build(image, hparams)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(features)
    return keras.Model(image, logits, name=hparams.architecture)


@contextlib.contextmanager
def _layers_in(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
