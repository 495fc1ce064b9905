"""What the rest of the project knows of a data set: a value that can stand in a cache key.

Synopsis::

    info = describe(resolve("mnist_sample", data_dir=None, cache_dir="cache"), "mnist_sample")
    info.image_shape, info.num_classes           # ((28, 28, 1), 10)
    DatasetInfo.from_json(info.to_json()) == info
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow_datasets as tfds

from components.example_gen.arrays import TEST, TRAIN
from components.example_gen.errors import DataError
from components.example_gen.features import find_keys
from components.example_gen.naming import name_of_builder
from components.example_gen.prepare import FINGERPRINT_KEY
from components.example_gen.spec import DatasetSpec, parse_dataset, slug
from trainer.host.files import read_pieces


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A prepared data set.

    Attributes:
      spec: the text that names it, to be resolved again in another process.
      name: "mnist_sample", "mnist", "emnist/balanced" or, for IDX files that are no known set's,
        "idx_<directory>_<digest of the test files>".
      fingerprint: hexadecimal SHA-256 of the content; changes when the data changes.
      image_shape: (height, width, channels).
      class_names: one per label, in the order of the labels.
      test_rows: examples of the test split.
    """

    spec: str
    name: str
    fingerprint: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    test_rows: int

    def __post_init__(self) -> None:
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ValueError(
                f"image_shape is {self.image_shape}, expected (height, width, channels), each >= 1"
            )
        if not re.fullmatch(r"[0-9a-f]{64}", self.fingerprint):
            raise ValueError(f"fingerprint is {self.fingerprint!r}, expected 64 hexadecimal digits")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def slug(self) -> str:
        """The name, as a file name."""
        return slug(self.name)

    def to_json(self) -> str:
        """One line, the same for equal values."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DatasetInfo:
        values = json.loads(text)
        height, width, channels = values["image_shape"]
        return cls(
            spec=values["spec"],
            name=values["name"],
            fingerprint=values["fingerprint"],
            image_shape=(height, width, channels),
            class_names=tuple(values["class_names"]),
            test_rows=values["test_rows"],
        )


def describe(builder: tfds.core.DatasetBuilder, spec: DatasetSpec | str) -> DatasetInfo:
    """Describes a builder that `sources.resolve` gave for `spec`.

    Costs one reading of the prepared files when tensorflow-datasets downloaded them, and nothing
    for the other sources, whose content `resolve` has read.
    """
    spec = parse_dataset(spec) if isinstance(spec, str) else spec
    found = find_keys(builder.info, spec.text)
    return DatasetInfo(
        spec=spec.text,
        name=name_of_builder(builder),
        fingerprint=_fingerprint(builder, spec),
        image_shape=found.image_shape,
        class_names=found.class_names,
        test_rows=builder.info.splits[TEST].num_examples,
    )


def _fingerprint(builder: tfds.core.DatasetBuilder, spec: DatasetSpec) -> str:
    if spec.kind != "tfds":
        return str(builder.info.metadata[FINGERPRINT_KEY])
    paths = [Path(path) for split in (TRAIN, TEST) for path in builder.info.splits[split].filepaths]
    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter's lock
        lines = pool.map(lambda path: f"{path.name} {_sha256(path)}", paths)
        return hashlib.sha256("\n".join([builder.info.full_name, *lines]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        for piece in read_pieces(path, max_bytes=None):  # a data set may be of any size
            digest.update(piece)
    except OSError as error:
        raise DataError(
            f"{path}: a file of the prepared data set cannot be read ({error.strerror or error}); "
            f"remove {path.parent} to have it prepared again"
        ) from error
    return digest.hexdigest()
