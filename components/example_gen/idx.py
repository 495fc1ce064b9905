"""The four classic IDX files of a directory, read and checked in memory (`idx_file`).

arrays = read_directory(Path("mnist"))
arrays.splits["train"].images.shape      # (60000, 28, 28, 1)
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.example_gen.arrays import TEST, TRAIN, ImageArrays, Split, class_count
from components.example_gen.errors import DataError
from components.example_gen.idx_file import read_images, read_labels, unreadable
from components.example_gen.known_sets import recognize

_NAME_DIGITS = 8  # hexadecimal, of the test files' digest
# Characters of the directory's name: with "idx_" and the digits not more than a slug has.
_NAME_WORDS = 40

# Role in the set -> what stands before and after the dot or dash in the file's name.
_FILES = (
    ("train-images", "idx3-ubyte"),
    ("train-labels", "idx1-ubyte"),
    ("t10k-images", "idx3-ubyte"),
    ("t10k-labels", "idx1-ubyte"),
)


def read_directory(directory: Path) -> ImageArrays:
    """Reads and checks a directory of IDX files; writes nothing.

    Raises:
      DataError: the files are not there, cannot be read, or do not hold a whole data set.
    """
    paths = find_files(directory)
    with ThreadPoolExecutor() as pool:  # zlib and hashlib release the interpreter's lock
        readers = (read_images, read_labels, read_images, read_labels)
        contents = list(pool.map(lambda read, path: read(path), readers, paths))
    digests = [content.sha256 for content in contents]
    train = _split(paths[0], contents[0].values, paths[1], contents[1].values)
    test = _split(paths[2], contents[2].values, paths[3], contents[3].values)
    count = class_count(f"idx:{directory}", train, test)
    known = recognize(digests[2], digests[3])
    if known is not None and len(known.class_names) == count:
        name, class_names = known.name, known.class_names
    else:
        name, class_names = (
            _name_of(directory, digests[2:]),
            tuple(str(label) for label in range(count)),
        )
    return ImageArrays(
        name=name,
        fingerprint=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        class_names=class_names,
        splits={TRAIN: train, TEST: test},
    )


def find_files(directory: Path) -> list[Path]:
    """The paths of train images and labels, test images and labels, in this order.

    Both spellings (`train-images-idx3-ubyte`, `train-images.idx3-ubyte`) are taken, with or
    without `.gz`, in the directory or, as Kaggle's archive of MNIST has them, in a directory of
    that name. A file that is there twice is taken once.
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
    """Whether there is anything but a directory; what it is, its reader finds out."""
    return os.path.lexists(path) and not path.is_dir()


def _split(images_path: Path, pixels: np.ndarray, labels_path: Path, labels: np.ndarray) -> Split:
    if len(pixels) != len(labels):
        raise DataError(
            f"{labels_path}: holds {len(labels):,} labels, expected {len(pixels):,}, "
            f"one per image of {images_path.name}"
        )
    return Split(pixels, labels.astype(np.int64))


def _name_of(directory: Path, test_digests: Sequence[str]) -> str:
    """The directory's name and a digest of the test files, as tensorflow-datasets takes a name.

    Two directories of one name are two sets, also below one serving directory. As for a known set,
    the test split alone decides: the name stays when the directory moves or training data grows.
    """
    words = "_".join(re.findall(r"[a-z0-9]+", directory.name.lower()))[:_NAME_WORDS].strip("_")
    digest = hashlib.sha256("\n".join(test_digests).encode()).hexdigest()
    return "_".join(filter(None, ["idx", words, digest[:_NAME_DIGITS]]))
