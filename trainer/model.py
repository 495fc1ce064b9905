"""The network that the hyper-parameters name: normalized images in, logits out.

Synopsis::

    model = build_model(HParams(), image_shape=(28, 28, 1), num_classes=10)
    logits = model(images)        # [B, 28, 28, 1] float32 -> [B, 10] float32
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from trainer.architectures import ARCHITECTURES
from trainer.hparams import HParams


def build_model(
    hparams: HParams, *, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Builds the network with random weights.

    In the scope of a strategy with several replicas, batch normalization takes its statistics over
    all of them, so that they train like one.

    Args:
      hparams: of which architecture, width, dropout and precision are used.
      image_shape: (height, width, channels), at least the architecture's `min_side`.
      num_classes: width of the last layer.

    Returns:
      A model from [B, H, W, C] float32 to logits [B, num_classes] float32.
    """
    image = keras.Input(shape=image_shape, name="image")
    with _layers_in(hparams.precision):
        features = ARCHITECTURES[hparams.architecture].build(image, hparams)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(features)
    return keras.Model(image, logits, name=hparams.architecture)


@contextlib.contextmanager
def _layers_in(precision: str) -> Iterator[None]:
    """Makes layers inside compute in this precision; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
