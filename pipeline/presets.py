"""The presets: named hyper-parameters, and the purpose of each set.

benchmarks/results.md says what each of them reaches, and in what time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from trainer.hparams import HParams


def quick() -> HParams:
    """For the embedded sample (3,500 training images), to see the whole pipeline run."""
    return HParams(
        architecture="convnet",
        epochs=12,
        per_replica_batch=64,
        learning_rate=0.005,
        dropout=0.3,
        max_shift=2,
    )


def fast() -> HParams:
    """For the full MNIST in little time."""
    return HParams(architecture="convnet", epochs=4, label_smoothing=0.02)


def best() -> HParams:
    """For the best accuracy of one network on the full MNIST."""
    return HParams(
        architecture="deep",
        epochs=22,
        per_replica_batch=256,
        learning_rate=0.01,
        dropout=0.25,
        weight_decay=0.05,
        label_smoothing=0.02,
        max_rotation=10.0,
        max_zoom=0.1,
        averaging=0.9995,
    )


def article() -> HParams:
    """For comparison with the README's article: its network, Adadelta, batch 128, 12 epochs."""
    return HParams(
        architecture="article",
        epochs=12,
        per_replica_batch=128,
        optimizer="adadelta",
        learning_rate=1.0,
        schedule="constant",
        dropout=0.5,
        max_shift=0,
    )


PRESETS: Mapping[str, Callable[[], HParams]] = {
    preset.__name__: preset for preset in (quick, fast, best, article)
}

# What the presets have instead for images in colour, or with 32 pixels or more on each side; not
# tuned. `article` stays what it compares with.
_RESIDUAL: Mapping[str, Mapping[str, Any]] = {
    "quick": {"learning_rate": 0.005, "epochs": 12, "dropout": 0.0, "max_shift": 4},
    "fast": {"per_replica_batch": 128, "epochs": 10, "max_shift": 4},
    "best": {
        "per_replica_batch": 128,
        "epochs": 60,
        "width": 2.0,
        "max_shift": 4,
        "max_rotation": 0.0,
        "max_zoom": 0.0,
    },
}
_COLOR_JITTER = {"quick": 0.0, "fast": 0.0, "best": 0.2}
_LARGE, _LEAST = 32, 16  # pixels
_SIDE_PER_SHIFT = 8  # pixels of the shorter side for each one of the largest shift; decision 0013


def fitted(
    preset: str, training: HParams, image_shape: tuple[int, int, int], *, given: Collection[str]
) -> HParams:
    """Returns the hyper-parameters of a preset for images of a shape (H, W, C).

    Those that were `given`, by name, stay as they are; with another network than `residual`, so do
    all but the largest shift.
    """
    values: dict[str, Any] = {}
    own = "architecture" in given and training.architecture != "residual"
    if takes_residual(preset, image_shape) and not own:
        values = {"architecture": "residual", **_RESIDUAL[preset]}
        if image_shape[2] > 1:  # a photograph, and no letter
            values |= {"horizontal_flip": True, "color_jitter": _COLOR_JITTER[preset]}
    shift = values.get("max_shift", training.max_shift)
    values["max_shift"] = min(shift, min(image_shape[:2]) // _SIDE_PER_SHIFT)
    kept = {name: value for name, value in values.items() if name not in given}
    return dataclasses.replace(training, **kept)


def takes_residual(preset: str, image_shape: tuple[int, int, int]) -> bool:
    """Tells whether the preset trains `residual` on images of a shape (H, W, C)."""
    *sides, channels = image_shape
    return preset in _RESIDUAL and min(sides) >= (_LEAST if channels > 1 else _LARGE)
