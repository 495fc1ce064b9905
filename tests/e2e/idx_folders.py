"""The embedded sample as IDX files, with a training split that was tampered with."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.example_gen.images import read_arrays
from components.example_gen.sources import open_dataset

Arrays = tuple[np.ndarray, np.ndarray]


def write_idx(folder: Path, *, change_train: Callable[[np.ndarray, np.ndarray], Arrays]) -> Path:
    """The sample as IDX files, its training split passed through `change_train`."""
    sample = open_dataset("mnist_sample", data_dir=None)
    folder.mkdir()
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images, labels = read_arrays(sample, split)
        labels = labels.astype(np.uint8)
        if split == "train":
            images, labels = change_train(images, labels)
        count, height, width = images.shape[:3]
        header = np.array([0x803, count, height, width], ">i4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(header + images.tobytes(), 1)
        )
        header = np.array([0x801, count], ">i4").tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(header + labels.tobytes(), 1)
        )
    return folder


def shuffle_some_labels(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """One label of ten is another image's."""
    return images, _shuffled(labels, len(labels) // 10)


def add_test_images(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """All test images stand in train too, with one pixel changed."""
    changed, test_labels = read_arrays(open_dataset("mnist_sample", data_dir=None), "test")
    changed[:, 14, 14] = 255 - changed[:, 14, 14]
    return np.concatenate([images, changed]), np.concatenate([labels, test_labels.astype(np.uint8)])


def shuffle_labels(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Three labels of five are another image's."""
    return images, _shuffled(labels, 3 * len(labels) // 5)


def _shuffled(labels: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(labels), count, replace=False)
    labels[chosen] = rng.permutation(labels[chosen])
    return labels
