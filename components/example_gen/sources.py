"""The data sources of `--dataset`. Parsing its text imports neither TensorFlow nor NumPy.

    spec = parse_dataset("idx:digits")
    image_set = SOURCES[spec.source].open(spec, DataConfig(), None)

`SOURCES` holds them by the word before the colon. A plugin (`trainer.host.registry`) adds its own::

    SOURCES.add("stripes", DataSource("stripes:SIDE", "drawn stripes", parse, open_stripes))
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from trainer.host.registry import PluginError, Registry
from trainer.host.text import quoted

if TYPE_CHECKING:
    from components.example_gen.image_set import ImageSet

SAMPLE = "mnist_sample"
TFDS = "tfds"

_AS_STORED = DataConfig()

# tensorflow-datasets' own syntax: name[/config][:version].
_TFDS_NAME = re.compile(r"([a-z][a-z0-9_]*(?:/[\w.\-]+)?)(?::\d+\.\d+\.\d+)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One data set of a source.

    Attributes:
      source: its key in `SOURCES`.
      text: means the same in every process and working directory, so a cache key may hold it.
      name: None if the content of the data set decides it.
      folders: absolute directories on this machine from which it is read.
    """

    source: str
    text: str
    name: str | None = None
    folders: tuple[Path, ...] = ()


@dataclasses.dataclass(frozen=True)
class DataSource:
    """One kind of data source.

    Attributes:
      usage: how a user writes it, such as "idx:DIR".
      help: a few words for `--help` and for messages.
      parse: reads the text after the colon, "" if there is none; raises DataError.
      open: finds and checks a data set, given the section `data` of the configuration, and
        `--data-dir` or None; raises DataError. If its images are PNG of one shape, it ignores the
        section, and `opening.open_dataset` completes what it says.
      find_name: returns the name of a data set without preparing it; None if the spec has the name,
        or opening the set finds it.
    """

    usage: str
    help: str
    parse: Callable[[str], DatasetSpec]
    open: Callable[[DatasetSpec, DataConfig, str | None], ImageSet]
    find_name: Callable[[DatasetSpec, str | None], str] | None = None


SOURCES: Registry[DataSource] = Registry("data source")


def usages() -> str:
    """Returns all that `--dataset` takes, in one sentence."""
    *others, last = (f"{source.usage} ({source.help})" for source in SOURCES.values())
    return f"{', '.join(others)} or {last}"


def parse_dataset(text: str) -> DatasetSpec:
    """Parses the text of `--dataset`, without looking for the data set; raises DataError."""
    text = text.strip()
    word, _, argument = text.partition(":")
    try:
        source = SOURCES.get(word)
    except PluginError as error:
        raise DataError(str(error)) from error
    return source.parse(argument.strip()) if source else SOURCES[TFDS].parse(text)


def find_name(spec: DatasetSpec, data: DataConfig = _AS_STORED, *, data_dir: str | None) -> str:
    """Returns the name of a data set, which selects its thresholds; may raise DataError."""
    source = SOURCES[spec.source]
    if source.find_name is not None:
        return source.find_name(spec, data_dir)
    return spec.name or source.open(spec, data, data_dir).info.name


def _parse_sample(argument: str) -> DatasetSpec:
    if argument:
        raise DataError(f"dataset is {quoted(f'{SAMPLE}:{argument}')}, expected {SAMPLE} alone")
    return DatasetSpec(SAMPLE, SAMPLE, name=SAMPLE)


def _parse_path(argument: str, *, source: str, is_file: bool = False) -> DatasetSpec:
    kind, metavar = ("file", "FILE") if is_file else ("directory", "DIR")
    if not argument:
        raise DataError(f"dataset is '{source}' without a {kind}, expected {source}:{metavar}")
    path = Path(os.path.abspath(os.path.expanduser(argument)))
    return DatasetSpec(source, f"{source}:{path}", folders=(path.parent if is_file else path,))


def _parse_tfds(text: str) -> DatasetSpec:
    match = _TFDS_NAME.fullmatch(text)
    if match is None:
        raise DataError(f"dataset is {quoted(text)}, {path_hint(text)}expected {usages()}")
    return DatasetSpec(TFDS, text, name=match[1])


def path_hint(text: str) -> str:
    """Returns "did you mean ...? " for the path of a folder or file that lacks its right word."""
    for path in (text, text.partition(":")[2].strip()):
        if os.path.isdir(os.path.expanduser(path)):
            return f"did you mean {quoted(f'folder:{path}')} or {quoted(f'idx:{path}')}? "
        if path.lower().endswith((".csv", ".parquet")) and os.path.isfile(os.path.expanduser(path)):
            return f"did you mean {quoted(f'csv:{path}')}? "
    return ""


def _in(module: str, function: str) -> Callable[..., Any]:
    """Returns a function of a module that is imported only when the function is called."""
    return lambda *args: getattr(importlib.import_module(module), function)(*args)


def _of_files(module: str, function: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns `open` and `find_name` of a source whose image files that function lists."""
    list_files, file_set = _in(module, function), "components.example_gen.file_set"
    return (
        functools.partial(_in(file_set, "open_files"), list_files),
        functools.partial(_in(file_set, "find_name"), list_files),
    )


SOURCES.add(
    SAMPLE,
    DataSource(
        SAMPLE,
        "5,000 images of MNIST, no network needed",
        _parse_sample,
        _in("components.example_gen.mnist_sample", "open_sample"),
    ),
)
SOURCES.add(
    "idx",
    DataSource(
        "idx:DIR",
        "a folder with the four IDX files",
        functools.partial(_parse_path, source="idx"),
        _in("components.example_gen.idx", "open_directory"),
    ),
)
SOURCES.add(
    "folder",
    DataSource(
        "folder:DIR",
        "images in one folder per class",
        functools.partial(_parse_path, source="folder"),
        *_of_files("components.example_gen.folder", "list_folder"),
    ),
)
SOURCES.add(
    "csv",
    DataSource(
        "csv:FILE",
        "a CSV or Parquet table of image files and labels",
        functools.partial(_parse_path, source="csv", is_file=True),
        *_of_files("components.example_gen.table", "list_table"),
    ),
)
SOURCES.add(
    TFDS,
    DataSource(
        "a tensorflow-datasets name",
        "such as mnist, emnist/balanced or cifar10:3.0.2",
        _parse_tfds,
        _in("components.example_gen.tfds_sets", "open_set"),
        _in("components.example_gen.tfds_sets", "find_name"),
    ),
)
