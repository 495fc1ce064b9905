"""The data source `csv:FILE`: a table, in CSV or Parquet, of image files and their classes."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from components.example_gen import file_set
from components.example_gen.data_config import DataConfig
from components.example_gen.image_set import TEST, TRAIN, ImageSet
from components.example_gen.listing import Listing
from components.example_gen.sources import DataError, DatasetSpec
from trainer import features
from trainer.host.files import open_regular
from trainer.host.text import one_line, quoted

PATH, LABEL, SPLIT = "path", "label", "split"

_MAX_BYTES = (2 << 30) - 1  # of a table; pyarrow reads a CSV in blocks of at most this size
_PARQUET_MAGIC = b"PAR1"
_FEATURE = re.compile(r"\w[\w.\-]*")
_TAKEN = frozenset(
    [
        *(features.IMAGE, features.LABEL, features.HEIGHT, features.WIDTH, features.CHANNELS),
        features.MEAN_INTENSITY,
    ]
)


def open_table(spec: DatasetSpec, data: DataConfig, data_dir: str | None) -> ImageSet:
    """Reads the table, reads and decodes all images once, and cuts `test` if it has no splits."""
    path = table_path(spec)
    return file_set.open_listing(spec, list_table(path), data, words=path.stem)


def find_name(spec: DatasetSpec, data_dir: str | None) -> str:
    """Returns the name of the set without reading all of its images."""
    path = table_path(spec)
    return file_set.find_name(spec, list_table(path), words=path.stem)


def table_path(spec: DatasetSpec) -> Path:
    """Returns the path of the table, which the text of the data set holds after the colon."""
    return Path(spec.text.partition(":")[2])


def list_table(path: Path) -> Listing:
    """Lists the images of a table, whose paths are relative to its directory."""
    table = _read(path)
    names = table.column_names
    for name in (PATH, LABEL):
        if name not in names:
            have = ", ".join(map(quoted, names))
            raise DataError(f"{path}: has no column {name!r}, only {have}; expected path and label")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{path}: has two columns {quoted(twice[0])}, expected one: remove the other"
        )
    if not table.num_rows:
        raise DataError(f"{path}: has no rows, expected one per image")
    paths = [_inside(path, row, name) for row, name in enumerate(_texts(path, table, PATH))]
    named = [unicodedata.normalize("NFC", text.strip()) for text in _texts(path, table, LABEL)]
    class_names = tuple(sorted(set(named)))
    if len(class_names) < 2:
        raise DataError(
            f"{path}: the column {LABEL!r} names one class, {quoted(class_names[0])}, expected two "
            "or more"
        )
    numbers = {name: label for label, name in enumerate(class_names)}
    return Listing(
        path.parent,
        paths,
        np.fromiter((numbers[name] for name in named), np.int64, len(named)),
        class_names,
        _is_test(path, table) if SPLIT in names else None,
        extra={
            name: _feature(path, table, name)
            for name in sorted(names)
            if name and name not in (PATH, LABEL, SPLIT)  # pandas' index has no name
        },
        listed_only=True,
    )


def _read(path: Path) -> pa.Table:
    try:
        with open_regular(path, max_bytes=_MAX_BYTES) as file:
            is_parquet = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
            file.seek(0)
            if is_parquet:
                return pyarrow.parquet.read_table(file)
            # Types are inferred from the first block: this one holds the whole file.
            block = max(1 << 20, os.fstat(file.fileno()).st_size + 1)
            return pyarrow.csv.read_csv(
                file,
                pyarrow.csv.ReadOptions(block_size=min(block, _MAX_BYTES)),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in (PATH, LABEL, SPLIT)}
                ),
            )
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), expected a CSV or Parquet file"
        ) from error
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: is neither CSV with a header nor Parquet ({one_line(error)}); expected a "
            "table with the columns path and label"
        ) from error


def _texts(path: Path, table: pa.Table, name: str) -> list[str]:
    """Returns a column as texts, none of which is empty."""
    texts: list[str | None] = _cast(path, table, name, pa.string()).to_pylist()
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            raise DataError(f"{_place(path, row)} has no {name}, expected one in each row")
    return [text for text in texts if text is not None]


def _cast(path: Path, table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    column = table.column(name)
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: the column {quoted(name)} has type {column.type} ({one_line(error)}), "
            "expected numbers or text"
        ) from error


def _place(path: Path, row: int) -> str:
    return f"{path}: row {row + 1}"  # the row below the header is number 1


def _inside(path: Path, row: int, name: str) -> str:
    """Returns a path of an image if it stays below the directory of the table."""
    normal = os.path.normpath(name)
    if os.path.isabs(normal) or normal.split(os.sep)[0] == os.pardir or "\0" in normal:
        raise DataError(
            f"{_place(path, row)} has the path {quoted(name)}, expected one below the directory of "
            "the table, relative to it: move the table to a directory above its images"
        )
    return normal


def _is_test(path: Path, table: pa.Table) -> np.ndarray:
    splits = _texts(path, table, SPLIT)
    for row, split in enumerate(splits):
        if split not in (TRAIN, TEST):
            raise DataError(
                f"{_place(path, row)} has the split {quoted(split)}, expected {TRAIN} or {TEST}; "
                "rows for validation belong to train, of which a part is cut"
            )
    return np.fromiter((split == TEST for split in splits), np.bool_, len(splits))


def _feature(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """Returns a further column as [N] int64, float32, or str as objects."""
    if name in _TAKEN or not _FEATURE.fullmatch(name):
        raise DataError(
            f"{path}: the column {quoted(name)} cannot be a feature: expected a name of letters, "
            f"digits, dots and dashes that is none of {', '.join(sorted(_TAKEN))}; rename or "
            "remove it"
        )
    kind = table.column(name).type
    dtype: Any = object
    target = pa.string()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        dtype, target = np.int64, pa.int64()
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        dtype, target = np.float32, pa.float32()
    values = _cast(path, table, name, target).to_pylist()
    for row, value in enumerate(values):
        if value is None or (dtype is np.float32 and not np.isfinite(value)):
            raise DataError(
                f"{_place(path, row)} has no {quoted(name)}, expected a value in each row; fill or "
                "remove the column"
            )
    return np.array(values, dtype)
