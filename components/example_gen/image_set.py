"""An opened data set, as every data source gives it to the rest of the project.

Synopsis::

    for shard in image_set.shards:
        for rows in image_set.read(shard):
            rows.images, rows.labels            # [n] encoded bytes or None, [n] int64
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from components.example_gen.data_error import DataError
from components.example_gen.example_facts import sortable
from components.gate.policy import FEATURES
from trainer.features import ImageSpec
from trainer.host.paths import slug

TRAIN, EVAL, TEST = "train", "eval", "test"
SPLITS = (TRAIN, EVAL, TEST)  # a source has no `eval`, which is cut from its `train`

_NAME_DIGITS = 8  # hexadecimal

Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def name_of(source: str, words: str, content: str, *, most: int) -> str:
    """Names a set by its source, by its directory, and by a digest of what makes it another set.

    So two directories of the same name are two sets, even below one pipeline root. `most` bounds
    the characters that `words`, the directory's name, contributes: a slug keeps them all.
    """
    cut = "_".join(re.findall(r"[a-z0-9]+", words.lower()))[:most].strip("_")
    digits = hashlib.sha256(content.encode()).hexdigest()[:_NAME_DIGITS]
    return "_".join(filter(None, [source, cut, digits]))


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before its images are read; a part of TFX's cache keys.

    Attributes:
      spec: its text for `--dataset`.
      name: "emnist/balanced"; for unknown IDX files "idx_<directory>_<digest of the test files>".
      fingerprint: hexadecimal SHA-256 of the content.
      image_shape: (height, width, channels) of what the network sees.
      class_names: in the order of the labels.
      resize: see `ImageSpec`.
      extra: the further features of each example, by name: "int64", "float32" or "str".
      data: the fields of the `DataConfig` with which the set was opened; a value that changes
        nothing is replaced, so that it makes no other set.
      sizes: (height, width) of the smallest, the median and the largest image by their number of
        pixels; None if all images have one size.
    """

    spec: str
    name: str
    fingerprint: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    test_rows: int
    resize: str = ""
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sizes: Sizes | None = None

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(self.image_shape, self.class_names, self.resize)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def features(self) -> dict[str, str]:
        """The features by which slices can be cut: "int64", "float32" or "str" by name."""
        return {**FEATURES, **dict(sorted(self.extra.items()))}

    @property
    def slug(self) -> str:
        return slug(self.name)

    def to_json(self) -> str:
        """Returns one line, which is the same for equal values."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DatasetInfo:
        return TypeAdapter(cls).validate_json(text)


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of a split, which is read by itself, and the number of rows that it must have."""

    split: str
    index: int
    rows: int

    def place(self, row: int | None = None) -> str:
        """Names the shard, or a row of it, in a message."""
        at = "" if row is None else f"row {row} of "
        return f"{at}shard {self.index} of split {self.split!r}"

    def require_rows(self, found: int, remedy: str) -> None:
        """Raises DataError unless the shard holds as many rows as the set declares."""
        if found != self.rows:
            raise DataError(
                f"{self.place()} holds {found:,} rows, expected the {self.rows:,} that the set "
                f"declares; {remedy}"
            )

    def labelled_paths(self, rows: Sequence[int]) -> Iterable[tuple[str, int]]:
        """Returns path and label of the files of some rows; for sources whose rows are files."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SourceRows:
    """Some successive rows of a shard, whose images are given encoded or as pixels.

    Attributes:
      labels: [n] int64.
      images: [n] bytes objects: PNG, and if the set is resized, also JPEG, BMP or GIF; None where a
        PNG is to be made of the pixels.
      pixels: [n, H, W, C] uint8, as stored; None where the images are to be decoded.
      extra: the further features, [n] each, of the types that `DatasetInfo.extra` names.
      file_hashes: [n, 32] uint8, the SHA-256 of the file of each image; None where they are none.
    """

    labels: np.ndarray
    images: np.ndarray | None = None
    pixels: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    file_hashes: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A data set that was found, and checked as far as possible without decoding its images.

    Attributes:
      shards: those of `train` and of `test`, each numbered from 0.
      num_bytes: size of the stored images by split; large splits become more files.
      read: yields the rows of a shard in batches that fit into memory, and raises DataError. Beam
        sends it to workers: it must be picklable, and opens its files only when it is called.
      remedy: the remedy in messages about damaged content.
      skipped: images that were left out because they cannot be read.
      ignored: files that were left out because they are hidden or no images.
      test_values: the values that further features have in `test`, for those features whose values
        are known before the images are read, and are no fractions.
      file_hashes: [N, 32] uint8, the SHA-256 of the files of all rows, shard by shard; None where
        they are none.
    """

    info: DatasetInfo
    shards: tuple[Shard, ...]
    num_bytes: Mapping[str, int]
    read: Callable[[Shard], Iterable[SourceRows]]
    remedy: str = "look at the source"
    skipped: int = 0
    ignored: int = 0
    test_values: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
    file_hashes: np.ndarray | None = None

    def shards_of(self, split: str) -> list[Shard]:
        return [shard for shard in self.shards if shard.split == split]

    def rows(self, split: str) -> int:
        return sum(shard.rows for shard in self.shards_of(split))

    def paths_of(self, hashes: Collection[str]) -> dict[str, list[str]]:
        """Returns the files with each hexadecimal SHA-256; none for what is no file of the set.

        A path is followed by split and class, in brackets, where those of equal files differ.
        """
        if self.file_hashes is None:
            return {}
        found: dict[str, list[tuple[str, str, str]]] = {}
        keys = sortable(self.file_hashes)
        wanted = np.array([bytes.fromhex(each) for each in hashes], keys.dtype)
        ends = np.cumsum([shard.rows for shard in self.shards])
        of_shards = np.split(np.isin(keys, wanted), ends[:-1])
        for shard, end, chosen in zip(self.shards, ends.tolist(), of_shards, strict=True):
            rows = np.flatnonzero(chosen)
            digests = self.file_hashes[end - shard.rows + rows]
            files = shard.labelled_paths(rows.tolist()) if len(rows) else ()
            for digest, (path, label) in zip(digests, files, strict=True):
                place = path, shard.split, self.info.class_names[label]
                found.setdefault(digest.tobytes().hex(), []).append(place)
        return {digest: _told_apart(files) for digest, files in found.items()}


def _told_apart(files: Sequence[tuple[str, str, str]]) -> list[str]:
    """Names equal files, given as (path, split, class): a table may have one in several of them."""
    _, *places = zip(*files, strict=True)
    differing = [place for place in places if len(set(place)) > 1]
    return [
        f"{path} ({', '.join(place[row] for place in differing)})" if differing else path
        for row, (path, _, _) in enumerate(files)
    ]
