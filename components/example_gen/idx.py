"""The data source `idx:DIR`: the four classic IDX files of a directory.

No images are kept in memory: they are read again from the files, as a stream.
"""

from __future__ import annotations

import dataclasses
import filecmp
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.example_gen.data_config import NO_FILES, OWN_TEST, DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.idx_file import IMAGES, LABELS, read_idx, unreadable
from components.example_gen.image_set import (
    TEST,
    TRAIN,
    DatasetInfo,
    ImageSet,
    Shard,
    SourceRows,
    name_of,
)
from components.example_gen.sources import DatasetSpec
from trainer.host.text import listed

_NAME_WORDS = 40  # with "idx_" and the digest the name is as long as a slug may be

# Role in the set, and the words after the dot or dash in the file's name.
_FILES = (
    ("train-images", "idx3-ubyte"),
    ("train-labels", "idx1-ubyte"),
    ("t10k-images", "idx3-ubyte"),
    ("t10k-labels", "idx1-ubyte"),
)

# Published sets by the SHA-256 of their uncompressed test images and test labels; name and classes
# are those of tensorflow-datasets.
_PUBLISHED: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ): ("mnist", tuple("0123456789")),
    (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ): (
        "fashion_mnist",
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}


@dataclasses.dataclass(frozen=True)
class _IdxSplit:
    """The two files of a split after they were read once.

    `digests` are hexadecimal SHA-256 of the uncompressed contents; `image_size` is (height, width);
    `counts` are the images per label, [K] int64 up to the highest label.
    """

    images: Path
    labels: Path
    digests: tuple[str, str]
    image_size: tuple[int, int]
    counts: np.ndarray


def open_directory(spec: DatasetSpec, data: DataConfig, data_dir: str | None) -> ImageSet:
    """Reads and checks a directory of IDX files, all four to the end."""
    (directory,) = spec.folders
    paths = find_files(directory)
    with ThreadPoolExecutor() as pool:  # zlib and hashlib release the interpreter's lock
        train, test = pool.map(_look_at, paths[::2], paths[1::2])
    _require_alike(spec.text, train, test)
    count = len(train.counts)
    # The test split alone decides: a set keeps its name, and with it the bounds of its gate, when
    # it moves, or when its training split was changed, enlarged or cut.
    name, class_names = _PUBLISHED.get(test.digests, ("", ()))
    if len(class_names) != count:
        name = name_of("idx", directory.name, "\n".join(test.digests), most=_NAME_WORDS)
        class_names = tuple(str(label) for label in range(count))
    splits = {TRAIN: train, TEST: test}
    rows = {name: int(split.counts.sum()) for name, split in splits.items()}
    height, width = train.image_size
    return ImageSet(
        DatasetInfo(
            spec=spec.text,
            name=name,
            fingerprint=hashlib.sha256(
                "\n".join(train.digests + test.digests).encode()
            ).hexdigest(),
            image_shape=(height, width, 1),
            class_names=class_names,
            test_rows=rows[TEST],
            data={**OWN_TEST, **NO_FILES},
        ),
        shards=tuple(Shard(split, 0, count) for split, count in rows.items()),
        num_bytes={split: count * height * width for split, count in rows.items()},
        read=functools.partial(_read, splits),
    )


def find_files(directory: Path) -> list[Path]:
    """Finds the paths of train images and labels, and of test images and labels, in this order.

    A file is spelled with a dash or a dot before "idx", with or without `.gz`, and may stand in a
    directory of its name, as in Kaggle's archive of MNIST. Of two equal files one is taken.
    """
    try:
        if not directory.exists():
            raise DataError(f"idx:{directory}: there is no such directory")
        if not directory.is_dir():
            raise DataError(f"idx:{directory}: is a file, expected the directory of the IDX files")
        return [_find_file(directory, *file) for file in _FILES]
    except OSError as error:
        raise unreadable(directory, error) from error


def _find_file(directory: Path, role: str, ending: str) -> Path:
    names = [f"{role}{mark}{ending}{gz}" for mark in "-." for gz in ("", ".gz")]
    # A directory of the file's name holds the file.
    places = [f"{name}/{inner}" for name in names for inner in names]
    found = [place for place in (*names, *places) if _is_there(directory / place)]
    if not found:
        raise DataError(
            f"idx:{directory}: {names[0]} is missing, expected it there, with or without .gz"
        )
    first, *others = found
    for other in others:
        if not filecmp.cmp(directory / first, directory / other, shallow=False):
            raise DataError(
                f"idx:{directory}: {first} and {other} are both there and differ, expected one of "
                "them: remove the other"
            )
    return directory / first


def _is_there(path: Path) -> bool:
    """Links and devices count too: the reader says why it refuses them."""
    return os.path.lexists(path) and not path.is_dir()


def _look_at(images: Path, labels: Path) -> _IdxSplit:
    digests = hashlib.sha256(), hashlib.sha256()
    rows, size = 0, (0, 0)
    for pixels in read_idx(images, IMAGES, digests[0]):
        rows, size = rows + len(pixels), (pixels.shape[1], pixels.shape[2])
    counts = np.zeros(256, np.int64)
    for values in read_idx(labels, LABELS, digests[1]):
        counts += np.bincount(values, minlength=256)
    if counts.sum() != rows:
        raise DataError(
            f"{labels}: holds {counts.sum():,} labels, expected {rows:,}, one per image of "
            f"{images.name}"
        )
    counts = np.trim_zeros(counts, "b")
    return _IdxSplit(images, labels, (digests[0].hexdigest(), digests[1].hexdigest()), size, counts)


def _require_alike(source: str, train: _IdxSplit, test: _IdxSplit) -> None:
    if train.image_size != test.image_size:
        shapes = [f"{split.image_size[0]}x{split.image_size[1]}x1" for split in (train, test)]
        raise DataError(
            f"{source}: images of differing shapes: {shapes[0]} in train, {shapes[1]} in test; "
            "expected one shape in both"
        )
    count = len(train.counts)
    if count < 2:
        raise DataError(f"{source}: the training labels name one class, expected two or more")
    if len(test.counts) > count:
        raise DataError(
            f"{source}: label {len(test.counts) - 1} in test is out of range, "
            f"expected 0 to {count - 1}, the labels of train"
        )
    for name, split in ((TRAIN, train), (TEST, test)):
        counts = np.pad(split.counts, (0, count - len(split.counts)))
        if missing := np.flatnonzero(counts == 0).tolist():
            raise DataError(
                f"{source}: the {name} split has no image of class {listed(missing)}, expected "
                f"each of the {count} classes in it, since the highest training label is "
                f"{count - 1}: add images, or correct the labels"
            )


def _read(splits: Mapping[str, _IdxSplit], shard: Shard) -> Iterator[SourceRows]:
    split = splits[shard.split]
    digests = hashlib.sha256(), hashlib.sha256()
    labels = np.concatenate(list(read_idx(split.labels, LABELS, digests[1]))).astype(np.int64)
    start = 0
    for images in read_idx(split.images, IMAGES, digests[0]):
        pixels = images[..., np.newaxis]  # [n, H, W, 1] uint8
        given = labels[start : start + len(pixels)]
        if (len(given), *pixels.shape[1:3]) != (len(pixels), *split.image_size):
            break
        yield SourceRows(given, pixels=pixels)
        start += len(pixels)
    if (digests[0].hexdigest(), digests[1].hexdigest()) != split.digests:
        raise DataError(f"{split.images.parent} has changed since the run began; start it again")
