"""The columns of tables that people hand in: CSV, Parquet or NPZ files.

Synopsis::

    columns = read_columns(Path("candidate.csv"), wide=("p_",))
    texts(path, "id", columns["id"])              # N texts
    numbers(path, "p_0", columns["p_0"])          # [N] float64

A file is read as a stream: memory holds only the result. Lines, texts and unpacked sizes are
bounded. pyarrow reads Parquet alone, and without threads: after an error in a file, version 10 may
abort the process at its end while a thread of it is left.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import itertools
import sys
import unicodedata
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from components.example_gen.data_error import DataError
from trainer.host.files import open_regular
from trainer.host.text import one_line, quoted

_MAX_BYTES = 4 << 30  # of a file, and of what a Parquet or NPZ file unpacks to
_MAX_LINE = 16 << 20  # characters; of a Parquet file bytes of a text
_VALUE_BYTES = 8  # of a number, and of a reference to a text
_ROWS_AT_ONCE = 4096  # of a Parquet file

# [N], or [N, K] numbers; N may differ, for an NPZ file. Texts are Python's, as objects.
Columns = dict[str, np.ndarray]


def read_columns(path: Path, form: str | None = None, *, wide: tuple[str, ...] = ()) -> Columns:
    """Reads a table; raises DataError for a file that is none.

    The columns of a CSV file hold texts, and those of a Parquet file what their type says: numbers
    (NaN where one is missing), or texts (None where one is missing).

    Args:
      form: ".csv", ".parquet" or ".npz"; by default the file's name says it.
      wide: prefixes of names; a CSV file's columns of such names are read as numbers, because
        those of many classes would fill the memory as texts.
    """
    form = form or path.suffix.lower()
    try:
        with open_regular(path, max_bytes=_MAX_BYTES) as file:
            if form not in FORMS:
                raise DataError(f"{path} ends in {form!r}, expected {', '.join(FORMS)}")
            return FORMS[form](path, file, wide)
    except DataError:
        raise
    except Exception as error:  # csv, zipfile, NumPy and pyarrow raise errors of many kinds
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot read {path}: {error.strerror}; give another file") from error
        name, expected = _EXPECTED[form]
        raise DataError(
            f"{path} is no {name} file: {one_line(error)}; expected {expected}: write it anew"
        ) from error


def _read_csv(path: Path, file: BinaryIO, wide: tuple[str, ...]) -> Columns:
    rows = filter(None, csv.reader(_lines(path, file), strict=True))  # an empty line is no row
    names = [name.strip() for name in next(rows, [])]
    if not names:
        raise DataError(f"{path} is empty, expected a first line that names the columns")
    if len(names) == 1 and (other := [one for one in ";\t|" if one in names[0]]):
        raise DataError(f"{path} separates its columns by {other[0]!r}, expected commas")
    _require_distinct(path, names)
    of_texts = {at: list[str]() for at, name in enumerate(names) if not name.startswith(wide)}
    of_numbers = [at for at in range(len(names)) if at not in of_texts]
    scores = array("d")  # row by row
    for row, cells in enumerate(rows):
        if len(cells) != len(names):
            raise DataError(f"{path}, row {row + 1} has {len(cells)} values, expected {len(names)}")
        for at, values in of_texts.items():
            values.append(cells[at])
        try:
            scores.extend([float(cells[at]) for at in of_numbers])
        except ValueError:
            scores.extend([_number(path, row, names[at], cells[at]) for at in of_numbers])
    matrix = np.frombuffer(scores).reshape(-1, max(1, len(of_numbers))).T
    found = {names[at]: matrix[place] for place, at in enumerate(of_numbers)}
    found |= {names[at]: np.array(values, object) for at, values in of_texts.items()}
    return {name: found[name] for name in names}


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        for number in itertools.count(1):
            line = text.readline(_MAX_LINE)
            if not line:
                return
            if "\0" in line:
                raise DataError(f"{path}, line {number} holds a NUL byte, expected text in UTF-8")
            if len(line) == _MAX_LINE:
                raise DataError(f"{path}, line {number} has {_MAX_LINE:,} characters or more")
            yield line


def _require_distinct(path: Path, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} has the column {quoted(twice[0])} twice, expected it once")


def _require_fitting(path: Path, size: int) -> None:
    if size > _MAX_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes, expected at most {_MAX_BYTES:,}")


def _require_short(path: Path, name: str, size: int) -> None:
    if size > _MAX_LINE:
        raise DataError(
            f"{path}: {name} has a value of {size:,} bytes, expected at most {_MAX_LINE:,}"
        )


def _read_parquet(path: Path, file: BinaryIO, _: tuple[str, ...]) -> Columns:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    if sys.version_info < (3, 11):  # TFX 1.16 has pyarrow 10: CVE-2023-47248
        importlib.import_module("pyarrow_hotfix")  # a column whose type is a pickle is refused
    content = parquet.ParquetFile(file)
    names = content.schema_arrow.names
    _require_distinct(path, names)
    _require_fitting(path, content.metadata.num_rows * len(names) * _VALUE_BYTES)
    parts: list[list[Any]] = [[] for _ in names]
    size = 0
    for group in map(content.metadata.row_group, range(content.metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            least = chunk.total_uncompressed_size // max(1, chunk.num_values)
            _require_short(path, chunk.path_in_schema, least)
    # By few rows, because a few bytes may stand for any number of long texts.
    for batch in content.iter_batches(_ROWS_AT_ONCE, use_threads=False):
        for name, part, values in zip(names, parts, batch.columns, strict=True):
            is_coded = pa.types.is_dictionary(values.type)
            part.append(values.dictionary_decode() if is_coded else values)
            size += part[-1].nbytes
            with contextlib.suppress(pa.ArrowNotImplementedError):  # no texts
                _require_short(path, name, pc.max(pc.binary_length(part[-1])).as_py() or 0)
        _require_fitting(path, size)
    kinds = [pa.null() if not part else part[0].type for part in parts]
    columns = map(pa.chunked_array, parts, kinds)
    return {name: _values(column) for name, column in zip(names, columns, strict=True)}


def _values(column: Any) -> np.ndarray:
    """Returns a column of pyarrow: numbers, lists of numbers as [N, K], or texts as objects.

    A column of any other type becomes objects, which its user refuses.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_fixed_size_list(storage := getattr(kind, "storage_type", kind)):  # of a tensor
        column, kind = column.cast(storage), storage
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(column)
    if types.is_timestamp(kind) and kind.tz:  # this machine may not know the zone
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    if types.is_duration(kind):  # Python's text: later versions of Arrow make a bare number of it
        # Nanoseconds would be those of pandas, where it is installed, with another text.
        lasted = column.cast(pa.duration("us"), safe=False).to_pylist()
        return np.array([None if one is None else str(one) for one in lasted], object)
    if types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        with contextlib.suppress(pa.ArrowException):
            column = column.cast(pa.string())
        return _objects(column)
    numeric: np.ndarray = column.to_numpy()
    return numeric


def _objects(column: Any) -> np.ndarray:
    found = np.empty(len(column), object)
    found[:] = column.to_pylist()
    return found


def _lists(column: Any) -> np.ndarray:
    """Returns lists of equally many numbers as [N, K] float64, others as objects."""
    import pyarrow.compute as pc
    from pyarrow import types

    kind, lengths = column.type.value_type, pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or None in lengths:
        return _objects(column)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return _objects(column)
    matrix: np.ndarray = pc.list_flatten(column).to_numpy().reshape(len(column), lengths[0])
    return matrix.astype(np.float64, copy=False)


def _read_npz(path: Path, file: BinaryIO, _: tuple[str, ...]) -> Columns:
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    _require_fitting(path, size)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]) for name in arrays.files}


_EXPECTED = {
    ".csv": ("CSV", "text in UTF-8 whose first line names the columns"),
    ".parquet": ("Parquet", "a whole one without encryption"),
    ".npz": ("NPZ", "a whole one of numbers and texts, as numpy.savez writes it"),
}

FORMS: dict[str, Callable[[Path, BinaryIO, tuple[str, ...]], Columns]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}


def texts(path: Path, name: str, values: np.ndarray, *, required: bool = True) -> list[str]:
    """Returns a column, [N], as texts, "" where one is missing; raises DataError.

    Args:
      required: whether each row must have one.
    """
    if values.ndim != 1:
        raise DataError(f"{path}: {name} has the shape {values.shape}, expected one value a row")
    is_float = values.dtype.kind == "f"
    known = values[~np.isnan(values)] if is_float else values
    whole = is_float and bool((np.isfinite(known) & (known == np.round(known))).all())
    # pandas stores whole numbers as floats where a value is missing: 3 is 3.0 there.
    show = (lambda value: str(int(value))) if whole else str
    given = _python_values(path, name, values)
    found = ["" if value is None or value != value else show(value) for value in given]
    for row in [at for at, text in enumerate(found) if required and not text.strip()][:1]:
        raise DataError(f"{path}, row {row + 1} has no {name}, expected one in each row")
    return found


def normal(text: object) -> str:
    """Returns a text as it is compared: without spaces around it, in NFC; "" for anything else."""
    return unicodedata.normalize("NFC", text.strip()) if isinstance(text, str) else ""


def numbers(path: Path, name: str, values: np.ndarray) -> npt.NDArray[np.float64]:
    """Returns a column, [N], as numbers, maybe NaN or infinite; raises DataError for others."""
    if values.ndim == 1 and values.dtype.kind in "fiu":
        return values.astype(np.float64)
    if values.ndim != 1:
        raise DataError(f"{path}: {name} has the shape {values.shape}, expected one number a row")
    given = _python_values(path, name, values)
    return np.array([_number(path, row, name, value) for row, value in enumerate(given)])


def _python_values(path: Path, name: str, values: np.ndarray) -> list[Any]:
    """Returns a column, [N], as Python's values, with text for bytes; raises DataError."""
    try:
        found = values.tolist()
    except (SystemError, ValueError):
        raise DataError(
            f"{path}: {name} holds 32 bits that are no character, expected text: write it anew"
        ) from None
    return [
        _decoded(path, row, name, value) if isinstance(value, bytes) else value
        for row, value in enumerate(found)
    ]


def _decoded(path: Path, row: int, name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(
            f"{path}, row {row + 1}: {name} is {quoted(value)}, expected text in UTF-8: write it "
            "as text"
        ) from None


def _number(path: Path, row: int, name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DataError(
            f"{path}, row {row + 1}: {name} is {quoted(value)}, expected a number"
        ) from None
