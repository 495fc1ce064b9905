"""The embedded sample as IDX files, with a training split that was tampered with."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from tests.components.example_gen.idx_contents import idx_file

Arrays = tuple[np.ndarray, np.ndarray]


def write_idx(folder: Path, *, change_train: Callable[[np.ndarray, np.ndarray], Arrays]) -> Path:
    """The sample as IDX files, its training split passed through `change_train`."""
    sample = open_dataset("mnist_sample", data_dir=None)
    folder.mkdir()
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images, labels = read_arrays(sample, split)
        if split == "train":
            images, labels = change_train(images, labels)
        for name, values in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            content = gzip.compress(idx_file(values), 1)
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(content)
    return folder


def shuffle_some_labels(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """One label of ten is another image's."""
    return images, _shuffled(labels, len(labels) // 10)


def add_test_images(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """All test images stand in train too, with one pixel changed."""
    changed, test_labels = read_arrays(open_dataset("mnist_sample", data_dir=None), "test")
    changed[:, 14, 14] = 255 - changed[:, 14, 14]
    return np.concatenate([images, changed]), np.concatenate([labels, test_labels])


def shuffle_labels(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Three labels of five are another image's."""
    return images, _shuffled(labels, 3 * len(labels) // 5)


def _shuffled(labels: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(labels), count, replace=False)
    labels[chosen] = rng.permutation(labels[chosen])
    return labels
