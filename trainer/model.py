"""The networks: normalized images in, logits out.

Synopsis::

    model = build_model(HParams(), image_shape=(28, 28, 1), num_classes=10)
    logits = model(images)        # [B, 28, 28, 1] float32 -> [B, 10] float32
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import keras

from trainer.hparams import MIN_IMAGE_SIDE, HParams
from trainer.normalization import BatchNormalization


def build_model(
    hparams: HParams,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    synchronized: bool = False,
) -> keras.Model:
    """Builds the network that `hparams.architecture` names, with random weights.

    Args:
      hparams: architecture, width, dropout and precision are used.
      image_shape: (height, width, channels).
      num_classes: width of the last layer.
      synchronized: batch normalization takes its statistics over all replicas, so that several
        replicas train as one does; only inside the scope of a strategy with several.

    Returns:
      A model from [B, H, W, C] float32 to logits [B, num_classes] float32.

    Raises:
      ValueError: the images are too small for the network's pooling.
    """
    least = MIN_IMAGE_SIDE[hparams.architecture]
    if min(image_shape[:2]) < least:
        raise ValueError(
            f"images are {image_shape[0]}x{image_shape[1]}, expected {least}x{least} or larger: "
            f"the network {hparams.architecture!r} pools them away"
        )
    image = keras.Input(shape=image_shape, name="image")
    with _layers_in(hparams.precision):
        features = _BODIES[hparams.architecture](image, hparams, synchronized)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(features)
    return keras.Model(image, logits, name=hparams.architecture)


@contextlib.contextmanager
def _layers_in(precision: str) -> Iterator[None]:
    """Layers that are made inside compute in that precision; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _wide(count: int, hparams: HParams) -> int:
    """Channels or units of a layer that has `count` at a width of 1."""
    return max(1, round(count * hparams.width))


def _convnet(x: keras.KerasTensor, hparams: HParams, synchronized: bool) -> keras.KerasTensor:
    """conv5-24, pool, conv3-32, pool, dense 256 with batch normalization.

    The shape is that of tuomaso/train_mnist_fast: few, cheap convolutions for a CPU.
    """
    x = keras.layers.Conv2D(_wide(24, hparams), 5, activation="relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(_wide(32, hparams), 3, activation="relu", padding="same")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(_wide(256, hparams), use_bias=False)(x)
    x = BatchNormalization(momentum=0.9, synchronized=synchronized)(x)
    x = keras.layers.Activation("relu")(x)
    return keras.layers.Dropout(hparams.dropout)(x) if hparams.dropout else x


def _deep(x: keras.KerasTensor, hparams: HParams, synchronized: bool) -> keras.KerasTensor:
    """conv5-32, pool, conv3-64, conv3-64, pool, conv3-128, conv3-128, dense 256.

    Batch normalization behind each, and behind the pooling where there is one: it then has a
    quarter of the values to pass over. Dropout behind each pooling and before both dense layers.
    """

    def convolve(x: keras.KerasTensor, filters: int, size: int, padding: str) -> keras.KerasTensor:
        return keras.layers.Conv2D(_wide(filters, hparams), size, padding=padding, use_bias=False)(
            x
        )

    def normalize(x: keras.KerasTensor) -> keras.KerasTensor:
        x = BatchNormalization(momentum=0.9, synchronized=synchronized)(x)
        return keras.layers.Activation("relu")(x)

    def drop(x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Dropout(hparams.dropout)(x) if hparams.dropout else x

    x = drop(normalize(keras.layers.MaxPooling2D(2)(convolve(x, 32, 5, "valid"))))  # 28 -> 12
    x = normalize(convolve(x, 64, 3, "same"))
    x = drop(normalize(keras.layers.MaxPooling2D(2)(convolve(x, 64, 3, "same"))))  # 12 -> 6
    x = normalize(convolve(x, 128, 3, "same"))
    x = normalize(convolve(x, 128, 3, "valid"))  # 6 -> 4
    x = drop(keras.layers.Flatten()(x))
    x = normalize(keras.layers.Dense(_wide(256, hparams), use_bias=False)(x))
    return drop(x)


def _article(x: keras.KerasTensor, hparams: HParams, synchronized: bool) -> keras.KerasTensor:
    """The article's network: conv 32, pool, conv 64, dropout, dense 128, dropout."""
    del synchronized  # it has no batch normalization
    x = keras.layers.Conv2D(_wide(32, hparams), 3, activation="relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(_wide(64, hparams), 3, activation="relu")(x)
    x = keras.layers.Dropout(hparams.dropout / 2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(_wide(128, hparams), activation="relu")(x)
    return keras.layers.Dropout(hparams.dropout)(x)


_Body = Callable[[keras.KerasTensor, HParams, bool], keras.KerasTensor]
_BODIES: Mapping[str, _Body] = {"convnet": _convnet, "deep": _deep, "article": _article}
