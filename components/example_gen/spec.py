"""What `--dataset` says, read without importing TensorFlow.

Synopsis::

    parse_dataset("emnist/balanced:3.1.0")
    # DatasetSpec(kind="tfds", text=…, name="emnist", path=None, config="balanced", version="3.1.0")
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import Literal

from components.example_gen.errors import DataError
from trainer.host.text import quoted

SAMPLE = "mnist_sample"
IDX_PREFIX = "idx:"

# tensorflow-datasets' own syntax: name[/config][:version].
_TFDS = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(/(?P<config>[\w.\-]+))?(:(?P<version>\d+\.\d+\.\d+))?", re.ASCII
)

# TFX takes 63 characters for a pipeline's name, which is "tfx-mnist." and the slug.
_MAX_SLUG = 53
_SLUG_DIGITS = 8  # hexadecimal


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data source.

    Attributes:
      kind: which kind of source.
      text: the whole of it as text; the same source always has the same text, so that it can stand
        in a cache key and be resolved again in another process.
      name: "mnist_sample", the directory's name, or the name that tensorflow-datasets knows.
      path: the absolute directory of the IDX files; None for the other kinds.
      config: the tensorflow-datasets configuration, None for its default.
      version: the tensorflow-datasets version, None for its newest.
    """

    kind: Literal["sample", "idx", "tfds"]
    text: str
    name: str
    path: Path | None = None
    config: str | None = None
    version: str | None = None

    @property
    def full_name(self) -> str:
        """The name with the configuration, as far as the text has them; see `naming.name_of`."""
        return full_name(self.name, self.config)


def parse_dataset(text: str) -> DatasetSpec:
    """Reads `mnist_sample`, `idx:DIR` or a tensorflow-datasets name.

    Whether such a set or directory exists is not looked at.

    Raises:
      DataError: the text is none of the three.
    """
    text = text.strip()
    if text == SAMPLE:
        return DatasetSpec(kind="sample", text=text, name=SAMPLE)
    if text.startswith(IDX_PREFIX):
        return _parse_idx(text)
    match = _TFDS.fullmatch(text)
    if match is None:
        raise DataError(
            f"dataset is {quoted(text)}, expected {SAMPLE}, idx:DIR (a directory of the four IDX "
            "files) or a tensorflow-datasets name such as mnist, emnist/balanced or cifar10:3.0.2"
        )
    name, config, version = match.group("name", "config", "version")
    return DatasetSpec(kind="tfds", text=text, name=name, config=config, version=version)


def full_name(name: str, config: str | None) -> str:
    """The name of one configuration of a set, or of a set that has none."""
    return f"{name}/{config}" if config else name


def slug(name: str) -> str:
    """A data set's name, as a file name; the end of a long one is replaced by a digest."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if len(words) <= _MAX_SLUG:
        return words
    digest = hashlib.sha256(name.encode()).hexdigest()[:_SLUG_DIGITS]
    return f"{words[: _MAX_SLUG - _SLUG_DIGITS - 1]}_{digest}"


def _parse_idx(text: str) -> DatasetSpec:
    directory = text[len(IDX_PREFIX) :].strip()
    if not directory:
        raise DataError(f"dataset is {quoted(text)}, expected a directory after the colon: idx:DIR")
    # Absolute, so that the text means the same from any working directory.
    path = Path(os.path.abspath(os.path.expanduser(directory)))
    return DatasetSpec(kind="idx", text=f"{IDX_PREFIX}{path}", name=path.name, path=path)
