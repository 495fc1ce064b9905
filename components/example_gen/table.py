"""The data source `csv:FILE`: a table, in CSV or Parquet, of image files and their classes."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from components.example_gen.columns import Columns, normal, read_columns, texts
from components.example_gen.data_error import DataError
from components.example_gen.image_set import TEST, TRAIN
from components.example_gen.listing import Listing
from trainer import features
from trainer.host.files import open_regular
from trainer.host.text import listed, quoted

PATH, LABEL, SPLIT = "path", "label", "split"

_PARQUET_MAGIC = b"PAR1"
_MISSING = frozenset(["", "na", "n/a", "#n/a", "nan", "null"])  # among numbers, in lower case
# Python would take it for a number, and lose its zeros, its sign or its underscores.
_CODE = re.compile(r"\+|-?0[0-9]|.*_")
_WHOLE = re.compile(r"-?[0-9]+")
_TRUTH = {"true": 1, "false": 0}
_FEATURE = re.compile(r"\w[\w.\-]*")
_TAKEN = frozenset(
    [
        *(features.IMAGE, features.LABEL, features.HEIGHT, features.WIDTH, features.CHANNELS),
        features.MEAN_INTENSITY,
    ]
)


def list_table(path: Path) -> Listing:
    """Lists the images of a table, whose paths are relative to its directory."""
    if os.path.isdir(path):  # no name is too long for it
        raise DataError(
            f"csv:{path}: is a directory, expected a table; images in one folder per class are "
            "given as folder:DIR"
        )
    form = ".parquet" if _is_parquet(path) else ".csv"
    columns = read_columns(path, form)
    for name in (PATH, LABEL):
        if name not in columns:
            have = listed(list(map(quoted, columns)))
            raise DataError(f"{path} has no column {name!r}, only {have}; expected path and label")
    if not len(columns[PATH]):
        raise DataError(f"{path} has no rows, expected one per image")
    paths = [_inside(path, row, name) for row, name in enumerate(_texts(path, columns, PATH))]
    named = [normal(text) for text in _texts(path, columns, LABEL)]
    class_names = tuple(sorted(set(named)))
    if len(class_names) < 2:
        raise DataError(
            f"{path}: the column {LABEL!r} names one class, {quoted(class_names[0])}, expected two "
            "or more"
        )
    numbers = {name: label for label, name in enumerate(class_names)}
    return Listing(
        path.parent,
        path.stem,
        paths,
        np.fromiter((numbers[name] for name in named), np.int64, len(named)),
        class_names,
        _is_test(path, columns) if SPLIT in columns else None,
        extra={
            name: _feature(path, name, columns[name], infer=form == ".csv")
            for name in sorted(columns)
            if name and name not in (PATH, LABEL, SPLIT)  # pandas' index has no name
        },
        listed_only=True,
    )


def _is_parquet(path: Path) -> bool:
    try:
        with open_regular(path, max_bytes=None) as file:
            return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    except OSError:
        return False  # whoever reads the table says why it cannot be read


def _texts(path: Path, columns: Columns, name: str) -> list[str]:
    found = texts(path, name, columns[name])
    # true and false, as most tools but Python write them.
    return [text.lower() for text in found] if columns[name].dtype.kind == "b" else found


def _inside(path: Path, row: int, name: str) -> str:
    """Returns a path of an image if it stays below the directory of the table."""
    normal = os.path.normpath(name)
    if not os.path.isabs(normal) and normal.split(os.sep)[0] != os.pardir and "\0" not in normal:
        return normal
    below = os.path.relpath(normal, path.parent) if os.path.isabs(normal) else os.pardir
    remedy = f"write {quoted(below)}"
    if below.split(os.sep)[0] == os.pardir:
        remedy = "move the table to a directory above its images"
    raise DataError(
        f"{path}, row {row + 1} has the path {quoted(name)}, expected one below the directory of "
        f"the table, relative to it: {remedy}"
    )


def _is_test(path: Path, columns: Columns) -> np.ndarray:
    splits = _texts(path, columns, SPLIT)
    for row, split in enumerate(splits):
        if split not in (TRAIN, TEST):
            raise DataError(
                f"{path}, row {row + 1} has the split {quoted(split)}, expected {TRAIN} or {TEST}; "
                "rows for validation belong to train, of which a part is cut"
            )
    return np.fromiter((split == TEST for split in splits), np.bool_, len(splits))


def _feature(path: Path, name: str, values: np.ndarray, *, infer: bool) -> np.ndarray:
    """Returns a further column as [N] int64, float32, or str as objects.

    Args:
      infer: whether texts that all say numbers, or true and false, become such.
    """
    if name in _TAKEN or not _FEATURE.fullmatch(name):
        raise DataError(
            f"{path}: the column {quoted(name)} cannot be a feature: expected a name of letters, "
            f"digits, dots and dashes that is none of {', '.join(sorted(_TAKEN))}; rename or "
            "remove it"
        )
    if infer:
        values = _inferred(values)
    if values.ndim != 1:
        raise DataError(
            f"{path}: the column {quoted(name)} holds {values.shape[1]} numbers a row, expected one"
        )
    if values.dtype.kind in "biu" and int(values.max()) < 1 << 63:
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
        unfit = ~np.isfinite(found)
    elif values.dtype.kind == "u":
        found, unfit = values, values >= 1 << 63
    else:
        found = np.array([normal(one) for one in values.tolist()], object)
        unfit = found == ""
    missing = [row for row in np.flatnonzero(unfit) if _is_missing(values[row])]
    for row in [*missing, *np.flatnonzero(unfit)][:1]:
        (value,) = values[row : row + 1].tolist()  # Python's own: NumPy 2 writes np.float64(inf)
        said = f"has no {quoted(name)}" if missing else f"has {quoted(value)} as {quoted(name)}"
        raise DataError(
            f"{path}, row {row + 1} {said}, expected a finite number of 32 bits, a whole one of 64 "
            "bits, or a text in each row; correct or remove the column"
        )
    return found


def _is_missing(value: Any) -> bool:
    return bool(value is None or value != value or not str(value).strip())


def _inferred(values: np.ndarray) -> np.ndarray:
    """Returns texts, [N], as int64 or float64 (NaN where one is missing) if all say such."""
    said = [text.strip().lower() for text in values.tolist()]
    is_known = np.array([text not in _MISSING for text in said])
    known = np.array(said, object)[is_known]
    if set(known) <= _TRUTH.keys():
        known = np.array([_TRUTH[text] for text in known], np.int64)
    elif any(_CODE.match(text) for text in known):
        return values
    for dtype in (np.int64, np.float64):
        with contextlib.suppress(ValueError):
            try:
                known = known.astype(dtype)
            except OverflowError:
                if all(map(_WHOLE.fullmatch, known)):  # more digits than a number keeps
                    return values
                continue  # whichever row comes first: it holds fractions too, or words
            if is_known.all():
                return known
            found = np.full(len(said), np.nan)
            found[is_known] = known
            return found
    return values
