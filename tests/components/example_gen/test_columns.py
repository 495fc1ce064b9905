"""Tables that are none: each of their readers says so in one line, and the process ends well."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from components.evaluation.prediction_files import read_predictions
from components.example_gen.columns import numbers, read_columns, texts
from components.example_gen.data_error import DataError
from components.example_gen.table import list_table
from tests.refusals import refusal_of

HEAD = "path,label,id,p_0,p_1\n"
ROW = "a.png,0,a,0.5,0.5\n"
LONG = "x" * 200_000
# TFX 1.16's pyarrow knows no tensors, and reads them as lists.
TENSOR = [pa.fixed_shape_tensor(pa.float64(), [2])] if hasattr(pa, "fixed_shape_tensor") else []


def as_parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def doubled() -> bytes:
    file, column = io.BytesIO(), pa.array(["a"])
    parquet.write_table(pa.table([column, column], names=["path", "path"]), file)
    return file.getvalue()


WHOLE = as_parquet(path=["a.png"], label=["0"], id=["a"], p_0=[0.5], p_1=[0.5])

# What is wrong: the file's suffix, its content, and what the line says.
BROKEN = {
    "too few values": (".csv", f"{HEAD}{ROW}a.png,0\n", ", row 2 has 2 values, expected 5"),
    "too many values": (".csv", f"{HEAD}{ROW[:-1]},1\n", "row 1 has 6 values, expected 5"),
    "a cut quote": (".csv", f'{HEAD}"a.png,0,a', "is no CSV file: Error: unexpected end of data"),
    "text behind a quote": (".csv", f'{HEAD}"a"b,0,a,1,0\n', "is no CSV file: Error: ',' expected"),
    "not UTF-8": (
        ".csv",
        f"{HEAD}{ROW}\xff".encode("latin-1"),
        "is no CSV file: UnicodeDecodeError",
    ),
    "UTF-16": (".csv", (HEAD + ROW).encode("utf-16"), "is no CSV file: UnicodeDecodeError"),
    "NUL bytes": (".csv", f"{HEAD}{ROW}\0{ROW}", "line 3 holds a NUL byte, expected text in UTF-8"),
    "a huge value": (".csv", f"{HEAD}{LONG},0,a,1,0\n", "field larger than field limit (131072)"),
    "a huge line": (".csv", "x," * (8 << 20), "line 1 has 16,777,216 characters or more"),
    "nothing": (".csv", "", "is empty, expected a first line that names the columns"),
    "empty lines": (".csv", "\n\n", "is empty, expected a first line that names the columns"),
    "no rows": (".csv", HEAD, "has no rows, expected one"),
    "a column is missing": (".csv", "path\na.png\n", "has no column "),
    "a column stands twice": (".csv", "path,path\na,b\n", " has the column 'path' twice, expected"),
    "a cut Parquet file": (".parquet", WHOLE[:-20], "is no Parquet file: ArrowInvalid"),
    "changed Parquet pages": (".parquet", b"PAR1" + b"\xff" * 200 + WHOLE[204:], "is no Parquet f"),
    "a Parquet head alone": (".parquet", b"PAR1", "is no Parquet file: ArrowInvalid"),
    "a column of Parquet twice": (".parquet", doubled(), "the column 'path' twice"),
    "Parquet without rows": (
        ".parquet",
        as_parquet(
            **dict.fromkeys(["path", "label", "id", "p_0", "p_1"], pa.array([], pa.string()))
        ),
        "has no rows, expected one",
    ),
}

PROGRAM = """
import sys
from pathlib import Path
from components.evaluation.prediction_files import read_predictions
from components.example_gen.data_error import DataError
from components.example_gen.table import list_table

for path in map(Path, sys.argv[1:]):
    for read in (read_predictions, list_table):
        try:
            read(path)
        except DataError as error:
            print(error)
sys.exit(2)
"""

# A damaged Parquet file has a process of its own: a thread of pyarrow may abort it at its end.
TOGETHER = [
    [name for name, (suffix, *_) in BROKEN.items() if suffix == ".csv"],
    *([name] for name, (suffix, *_) in BROKEN.items() if suffix == ".parquet"),
]


@pytest.mark.parametrize("names", TOGETHER, ids=["CSV", *(names[0] for names in TOGETHER[1:])])
def test_a_process_that_is_given_broken_tables_says_so_and_ends_well(
    names: list[str], tmp_path: Path
) -> None:
    paths = []
    for number, name in enumerate(names):
        suffix, content, _ = BROKEN[name]
        paths.append(tmp_path / f"{number}{suffix}")
        paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, paths)], capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 2)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(names)
    for at, line in enumerate(lines):
        assert line.startswith(f"{paths[at // 2]}")
        assert BROKEN[names[at // 2]][2] in line


# A column's type may be a pickle (CVE-2023-47248), which pyarrow 10 loads.
PICKLED = """
import os, sys
import pyarrow as pa
from pyarrow import parquet

class Type(pa.PyExtensionType):
    def __init__(self):
        super().__init__(pa.int64())

    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)

column = pa.ExtensionArray.from_storage(Type(), pa.array([0]))
parquet.write_table(pa.table({"id": column}), sys.argv[1])
"""


def test_no_code_is_run_that_a_parquet_file_holds(tmp_path: Path) -> None:
    path, made = tmp_path / "table.parquet", tmp_path / "made"
    words = [sys.executable, "-W", "ignore", "-c"]
    subprocess.run([*words, PICKLED, path, made], check=True)
    subprocess.run([*words, PROGRAM, path], capture_output=True)
    assert not made.exists()


def refusal(path: Path) -> str:
    return refusal_of(DataError, read_columns, path)


def test_marks_of_editors_and_systems_make_no_difference(tmp_path: Path) -> None:
    text = 'id , label,note\n1,a,x\n\n2,b,"two\nlines, and a ""quote"""\n'
    forms = [text.encode(), text.encode("utf-8-sig"), text.replace("\n", "\r\n").encode()]
    for content in forms:
        (tmp_path / "t.CSV").write_bytes(content)
        columns = read_columns(tmp_path / "t.CSV")
        assert list(columns) == ["id", "label", "note"]
        assert columns["label"].tolist() == ["a", "b"]
        assert columns["note"][1].replace("\r\n", "\n") == 'two\nlines, and a "quote"'


def test_wide_columns_of_csv_are_numbers_and_others_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("p_a,id,p_b\n1e-3,007,nan\n")
    columns = read_columns(tmp_path / "t.csv", wide=("p_",))
    assert columns["id"].tolist() == ["007"]
    assert columns["p_a"].tolist() == [0.001]
    assert np.isnan(columns["p_b"]).all()


def test_parquet_columns_have_the_types_that_they_were_given(tmp_path: Path) -> None:
    table = {
        "whole": pa.array([1, None], pa.int32()),
        "large": pa.array([1, 2**64 - 1], pa.uint64()),
        "price": pa.array([1, None], pa.decimal128(5, 2)),
        "name": pa.array(["a", None]).dictionary_encode(),
        "day": pa.array([0, 1], pa.date32()),
        "when": pa.array([0, 1], pa.timestamp("ms", "Nowhere/Here")),
        "lasted": pa.array([0, 10**9], pa.duration("ns")),
        "known": pa.array([True, False]),
        "scores": pa.array([[1.0, 2.0], [3.0, None]]),
        "pair": pa.array([{"x": 1}, {"x": 2}]),
    }
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    columns = read_columns(tmp_path / "t.parquet")
    assert columns["whole"][0] == columns["price"][0] == 1.0
    assert np.isnan([columns["whole"][1], columns["price"][1], columns["scores"][1, 1]]).all()
    assert columns["large"].tolist() == [1, 2**64 - 1]
    assert columns["name"].tolist() == ["a", None]
    assert columns["day"].tolist() == ["1970-01-01", "1970-01-02"]
    assert columns["when"].tolist() == ["1970-01-01 00:00:00.000Z", "1970-01-01 00:00:00.001Z"]
    assert texts(Path("t"), "lasted", columns["lasted"]) == ["0:00:00", "0:00:01"]
    assert columns["known"].dtype == bool
    assert columns["pair"].tolist() == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("lists", "kind"),
    [
        *(([[1.0, 2.0], [1.0]], None), ([[1.0], None], None), ([None, None], None)),
        *(([["a"], ["b"]], None), ([None, None], pa.list_(pa.float64()))),
    ],
    ids=str,
)
def test_lists_that_are_no_matrix_of_numbers_stay_lists(
    lists: list, kind: pa.DataType | None, tmp_path: Path
) -> None:
    table = pa.table({"p": pa.array(lists, kind), "q": [1.0, 2.0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert read_columns(tmp_path / "t.parquet")["p"].tolist() == lists


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.list_(pa.int64()), pa.list_(pa.float32()), pa.list_(pa.decimal128(5, 2))),
        *(pa.large_list(pa.float64()), pa.list_(pa.float64(), 2), *TENSOR),
    ],
    ids=str,
)
def test_lists_of_equally_many_numbers_are_a_matrix(kind: pa.DataType, tmp_path: Path) -> None:
    lists = pa.array([[1, 2], [3, 4], [5, 6]], kind)
    parquet.write_table(pa.table({"p": lists}), tmp_path / "t.parquet")
    found = read_columns(tmp_path / "t.parquet")["p"]
    assert (found.dtype, found.tolist()) == (np.float64, [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("coded", [True, False])
def test_a_few_bytes_of_parquet_that_stand_for_too_many_are_refused(
    coded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.example_gen.columns._MAX_BYTES", 4 << 20)
    texts = pa.array(["x" * 1000] * 10_000)
    for name, column in (
        ("long", texts.dictionary_encode() if coded else texts),
        ("many", pa.array(np.zeros(1 << 20, np.int8))),
    ):
        file = tmp_path / f"{name}.parquet"
        parquet.write_table(pa.table({"id": column}), file)
        assert file.stat().st_size < 1 << 14
        assert "bytes, expected at most 4,194,304" in refusal(file)


def test_a_long_text_of_parquet_is_refused_as_in_csv(tmp_path: Path) -> None:
    for rows in (1, 10):  # of one alone the file's end tells
        table = pa.table({"id": pa.array([*["y"] * (rows - 1), "x" * (20 << 20)])})
        parquet.write_table(table, tmp_path / "t.parquet")
        assert re.search(
            r"t.parquet: id has a value of 20,97\d,\d+ bytes, expected at most 16,777,216$",
            refusal(tmp_path / "t.parquet"),
        )


def test_a_coded_column_of_parquet_holds_what_the_codes_stand_for(tmp_path: Path) -> None:
    numbers, texts = pa.array([3, 7, 3]), pa.array(["a", None, "b"])
    table = pa.table({"n": numbers.dictionary_encode(), "t": texts.dictionary_encode()})
    parquet.write_table(table, tmp_path / "t.parquet")
    found = read_columns(tmp_path / "t.parquet")
    assert (found["n"].tolist(), found["t"].tolist()) == ([3, 7, 3], ["a", None, "b"])


def test_arrays_that_unpack_to_more_than_the_bound_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.example_gen.columns._MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "t.npz", id=np.zeros(1 << 20, np.uint8))
    assert (tmp_path / "t.npz").stat().st_size < 1 << 14
    assert "unpacks to 1,048,704 bytes, expected at most 1,048,576" in refusal(tmp_path / "t.npz")


def test_numbers_become_texts_as_people_write_them() -> None:
    path = Path("t")
    assert texts(path, "a", np.array([3.0, np.nan]), required=False) == ["3", ""]
    assert texts(path, "a", np.array([3.0, 0.5])) == ["3.0", "0.5"]
    assert texts(path, "a", np.array([b"a"])) == ["a"]
    assert texts(path, "a", np.array(["x", None], object), required=False) == ["x", ""]
    with pytest.raises(DataError, match=r"^t, row 2 has no a, expected one in each row$"):
        texts(path, "a", np.array([3.0, np.nan]))
    with pytest.raises(DataError, match=r"^t: a has the shape \(1, 2\), expected one number a row"):
        numbers(path, "a", np.zeros((1, 2)))


@pytest.mark.parametrize("kind", ["S1", "V1", object])
def test_bytes_are_texts_in_utf_8(kind: object) -> None:
    assert texts(Path("t"), "a", np.array([b"a", b"b"]).astype(kind)) == ["a", "b"]
    line = r"^t, row 2: a is b'\\xff', expected text in UTF-8: write it as text$"
    for read in (texts, numbers):
        with pytest.raises(DataError, match=line):
            read(Path("t"), "a", np.array([b"1", b"\xff"]).astype(kind))


def test_an_array_of_what_are_no_characters_is_refused() -> None:
    for read in (texts, numbers):
        with pytest.raises(DataError, match=r"^t: a holds 32 bits that are no character"):
            read(Path("t"), "a", np.array([0x31, 0xFFFFFFFF], np.uint32).view("<U1"))


def test_a_long_id_cannot_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEAD + ROW + ROW.replace(",a,", f",{LONG[:1001]},"))
    with pytest.raises(DataError, match="row 2: id has 1,001 characters, expected at most 1,000"):
        read_predictions(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(HEAD + ROW + ROW.replace(",0,", ",1,"))
    assert list_table(tmp_path / "t.csv").class_names == ("0", "1")
