"""The networks by name, in a table that plugins extend.

To add a network, write its function and its entry here, or both in a plugin
(`trainer.host.registry`). Such a module imports Keras inside its functions, because the command
line reads the table and Keras takes seconds to import.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.host.registry import Registry

if TYPE_CHECKING:
    from trainer.hparams import HParams


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network without its last layer, which `trainer.model.build_model` adds.

    Attributes:
      help: a few words for `tfx-mnist config keys`.
      min_side: smallest height and width of an image, in pixels; pooling reduces smaller ones to
        nothing.
      build: makes features [B, N] of Keras's symbolic images [B, H, W, C] float32. For batch
        normalization it uses `trainer.normalization.BatchNormalization`.
    """

    help: str
    min_side: int
    build: Callable[[Any, HParams], Any]


ARCHITECTURES: Registry[Architecture] = Registry("architecture")


_RESIDUAL_SIDE = 32  # pixels of the first residual blocks, up to twice that less one


def _wide(count: int, hparams: HParams) -> int:
    return max(1, round(count * hparams.width))


def _convnet(x: Any, hparams: HParams) -> Any:
    """Few, cheap convolutions for a CPU, as in tuomaso/train_mnist_fast."""
    from keras import layers

    from trainer.normalization import BatchNormalization

    x = layers.Conv2D(_wide(24, hparams), 5, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(_wide(32, hparams), 3, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(_wide(256, hparams), use_bias=False)(x)
    x = layers.Activation("relu")(BatchNormalization(momentum=0.9)(x))
    return layers.Dropout(hparams.dropout)(x) if hparams.dropout else x


def _deep(x: Any, hparams: HParams) -> Any:
    """Normalizes after the pooling if there is one, which leaves a quarter of the values."""
    from keras import layers

    from trainer.normalization import BatchNormalization

    def convolve(x: Any, filters: int, size: int, padding: str) -> Any:
        return layers.Conv2D(_wide(filters, hparams), size, padding=padding, use_bias=False)(x)

    def normalize(x: Any) -> Any:
        return layers.Activation("relu")(BatchNormalization(momentum=0.9)(x))

    def drop(x: Any) -> Any:
        return layers.Dropout(hparams.dropout)(x) if hparams.dropout else x

    x = drop(normalize(layers.MaxPooling2D(2)(convolve(x, 32, 5, "valid"))))  # 28 -> 12
    x = normalize(convolve(x, 64, 3, "same"))
    x = drop(normalize(layers.MaxPooling2D(2)(convolve(x, 64, 3, "same"))))  # 12 -> 6
    x = normalize(convolve(x, 128, 3, "same"))
    x = normalize(convolve(x, 128, 3, "valid"))  # 6 -> 4
    x = drop(layers.Flatten()(x))
    x = normalize(layers.Dense(_wide(256, hparams), use_bias=False)(x))
    return drop(x)


def _article(x: Any, hparams: HParams) -> Any:
    from keras import layers

    x = layers.Conv2D(_wide(32, hparams), 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(_wide(64, hparams), 3, activation="relu")(x)
    x = layers.Dropout(hparams.dropout / 2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(_wide(128, hparams), activation="relu")(x)
    return layers.Dropout(hparams.dropout)(x)


def _residual(x: Any, hparams: HParams) -> Any:
    """Two residual blocks each at 32, 16 and 8 pixels (He et al. 2016, arXiv 1512.03385, section
    4.2), after the convolutions of stride 2 that make the image as small.

    The mean over all places, and not a dense layer, makes the features: few weights at any size.
    """
    from keras import layers

    from trainer.normalization import BatchNormalization

    def convolve(x: Any, filters: int, size: int, stride: int = 1) -> Any:
        x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
        return BatchNormalization(momentum=0.9)(x)

    def block(x: Any, filters: int, stride: int) -> Any:
        y = layers.Activation("relu")(convolve(x, filters, 3, stride))
        y = convolve(y, filters, 3)
        if stride > 1 or x.shape[-1] != filters:
            x = convolve(x, filters, 1, stride)
        return layers.Activation("relu")(layers.Add()([x, y]))

    halvings = max(0, int(math.log2(min(x.shape[1:3]) / _RESIDUAL_SIDE)))
    for stride in (*[2] * halvings, 1):
        x = layers.Activation("relu")(convolve(x, _wide(16, hparams), 3, stride))
    for filters, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        x = block(x, _wide(filters, hparams), stride)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(hparams.dropout)(x) if hparams.dropout else x


ARCHITECTURES.add("convnet", Architecture("two small convolutions", 8, _convnet))
ARCHITECTURES.add(
    "deep", Architecture("five convolutions, each with batch normalization", 16, _deep)
)
ARCHITECTURES.add("article", Architecture("the article's network", 8, _article))
ARCHITECTURES.add(
    "residual", Architecture("residual blocks and global average pooling", 16, _residual)
)
