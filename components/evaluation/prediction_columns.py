"""The columns of a CSV, Parquet or NPZ file, without pandas: texts, numbers, and arrays of numbers.

Synopsis::

    columns = read_columns(Path("candidate.csv"))
    texts(path, "id", columns["id"])              # [N] texts
    numbers(path, "p_0", columns["p_0"])          # [N] float64
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.example_gen.sources import DataError
from trainer.host.files import read_regular
from trainer.host.text import one_line, quoted

_MAX_BYTES = 4 << 30
# Columns of CSV files with these prefixes: as texts, those of many classes would fill the memory.
_NUMBERS_AT_ONCE = ("p_", "logit_")
_MOST_NAMED = 20  # names in a message

# [N], or [N, K] numbers; N may differ, for an NPZ file.
Columns = dict[str, np.ndarray]


def read_columns(path: Path) -> Columns:
    """Reads a file, whose name says its format; raises DataError for one that is no such file."""
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path} ends in {path.suffix!r}, expected {', '.join(_READERS)}")
    try:
        content = read_regular(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; give another file") from error
    try:
        return read(path, content)
    except DataError:
        raise
    except (ValueError, OSError, KeyError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        kind = path.suffix[1:].upper()
        raise DataError(f"{path} is no {kind} file: {one_line(error)}") from error


def _read_csv(path: Path, content: bytes) -> Columns:
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    names = [name.strip() for name in next(reader, [])]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path} has the column {min(twice)!r} twice, expected it once")
    wide = [i for i, name in enumerate(names) if name.startswith(_NUMBERS_AT_ONCE)]
    texts: list[list[str]] = [[] for _ in names]
    scores: list[npt.NDArray[np.float64]] = []
    for row, cells in enumerate(reader):
        if not cells:  # an empty line
            continue
        if len(cells) != len(names):
            raise DataError(f"{path}, row {row + 1} has {len(cells)} values, expected {len(names)}")
        scores.append(np.array([_number(path, row, names[i], cells[i]) for i in wide]))
        for i in set(range(len(names))).difference(wide):
            texts[i].append(cells[i])
    matrix = np.array(scores).reshape(len(scores), len(wide))
    columns: Columns = {names[i]: matrix[:, place] for place, i in enumerate(wide)}
    return {
        name: columns[name] if name in columns else np.array(texts[i], np.str_)
        for i, name in enumerate(names)
    }


def _read_parquet(path: Path, content: bytes) -> Columns:
    import pyarrow
    from pyarrow import parquet

    # A thread of pyarrow that is left after an error aborts the process at its end (pyarrow 10).
    table = parquet.read_table(pyarrow.BufferReader(content), use_threads=False)
    columns = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        lists = bool(values) and isinstance(values[0], list)
        columns[name] = _matrix(path, name, values) if lists else np.array(values)
    return columns


def _read_npz(path: Path, content: bytes) -> Columns:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]) for name in arrays.files}


_READERS: Mapping[str, Callable[[Path, bytes], Columns]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}


def _matrix(path: Path, name: str, rows: Sequence[Sequence[float]]) -> np.ndarray:
    for row, values in enumerate(rows):
        if values is None or len(values) != len(rows[0]):
            count = "nothing" if values is None else f"{len(values)} values"
            raise DataError(
                f"{path}, row {row + 1}: {name} holds {count}, expected {len(rows[0])} as in row 1"
            )
    return np.array(rows, np.float64)


def texts(path: Path, name: str, values: np.ndarray) -> npt.NDArray[np.str_]:
    """Returns a column, [N], as texts, none of which is empty; raises DataError."""
    if values.ndim != 1:
        raise DataError(f"{path}: {name} has the shape {values.shape}, expected one value a row")
    if values.dtype.kind == "f" and (np.isfinite(values) & (values == np.round(values))).all():
        values = values.astype(np.int64)  # pandas makes 3.0 of 3
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    missing = ("", "nan") if values.dtype.kind == "f" else ("",)
    found = np.array(["" if value is None else str(value) for value in values.tolist()], np.str_)
    for row in np.flatnonzero(np.isin(found, missing))[:1]:
        raise DataError(f"{path}, row {row + 1} has no {name}, expected a text or a number")
    return found


def numbers(path: Path, name: str, values: np.ndarray) -> npt.NDArray[np.float64]:
    """Returns a column, [N], as numbers, maybe NaN or infinite; raises DataError for others."""
    if values.ndim == 1 and values.dtype.kind in "fiu":
        return values.astype(np.float64)
    if values.ndim != 1:
        raise DataError(f"{path}: {name} has the shape {values.shape}, expected one number a row")
    return np.array([_number(path, row, name, value) for row, value in enumerate(values.tolist())])


def _number(path: Path, row: int, name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DataError(
            f"{path}, row {row + 1}: {name} is {quoted(value)}, expected a number"
        ) from None


def listed(names: Sequence[str]) -> str:
    """Returns names for a message, the first ones of many."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(map(str, names[:_MOST_NAMED])) or "none") + more
