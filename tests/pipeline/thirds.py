"""A small data set of images with one bright third, as IDX files, and a short run on it."""

from pathlib import Path
from typing import Any

import numpy as np

from components.data_gate.bounds import DataGateConfig
from components.gate.policy import GateConfig
from pipeline.config import RunConfig, ServingConfig
from tests.components.example_gen.idx_contents import idx_file
from trainer.hparams import HParams

CLASSES = 3
SIDE = 12  # pixels
TRAINING = HParams(epochs=1, per_replica_batch=32, max_shift=0)
# The default floor is more than so few test images can show.
LOW_FLOOR = GateConfig(floor=0.9)
# Any model passes.
ANY_MODEL = GateConfig(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0)


def _draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with one bright third, which is their label: ([N, H, W] uint8, [N] uint8)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, size=(rows, SIDE, SIDE), dtype=np.uint8)
    labels = np.arange(rows, dtype=np.uint8) % CLASSES
    third = SIDE // CLASSES
    for image, label in zip(images, labels, strict=True):
        image[label * third : (label + 1) * third] += 150
    return images, labels


def _write(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_file(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_file(labels))


def write_thirds(folder: Path) -> str:
    """Writes 192 training and 60 test images of three classes; gives their `--dataset`.

    Two test images of different labels differ by 1 in one pixel, so that no model gets all of them
    right. One training image is the test image after them: 1 of 60 overlaps.
    """
    folder.mkdir()
    images, labels = _draw(192, seed=1)
    test_images, test_labels = _draw(60, seed=2)
    test_images[1] = test_images[0]
    test_images[1, 0, 0] ^= 1
    images[2] = test_images[2]
    _write(folder, "train", images, labels)
    _write(folder, "t10k", test_images, test_labels)
    return f"idx:{folder}"


def short_run(dataset: str, root: Path, **changes: Any) -> RunConfig:
    """A run on the data set that `write_thirds` names, whose model passes whatever it learned."""
    given = {
        "training": TRAINING,
        "gate": ANY_MODEL,
        "data_gate": DataGateConfig(max_train_test_overlap=0.1),  # 1 of 60 is 0.017
        "serving": ServingConfig(max_p99_latency_ms=10_000.0),  # the machine may be busy
    }
    return RunConfig(dataset=dataset, pipeline_root=str(root), **{**given, **changes})
