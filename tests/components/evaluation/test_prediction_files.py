"""Files of predictions: formats that say the same, and what does not fit, by row and value."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.evaluation.prediction_files import read_predictions
from components.example_gen.data_error import DataError
from tests.components.evaluation.prediction_samples import table, write
from tests.refusals import refusal_of

FORMATS = (".csv", ".parquet", ".npz")


def refusal(path: Path) -> str:
    return refusal_of(DataError, read_predictions, path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same(suffix: str, tmp_path: Path) -> None:
    read = read_predictions(write(tmp_path / f"p{suffix}", {**table(4), "age": [30, 40, 50, 60]}))
    assert (read.ids.tolist(), read.labels.tolist()) == (
        ["a0", "a1", "a2", "a3"],
        ["0", "1", "2", "0"],
    )
    assert read.classes == ("0", "1", "2")
    assert read.scores.tolist()[:2] == [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    assert read.predicted.tolist() == ["0", "1", "2", "0"]
    assert read.numbers("age").tolist() == [30.0, 40.0, 50.0, 60.0]


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_an_array_stands_for_a_column_of_each_class(suffix: str, tmp_path: Path) -> None:
    columns = {"id": [7, 8], "label": [1, 0], "probabilities": [[0.25, 0.75], [1.0, 0.0]]}
    read = read_predictions(write(tmp_path / f"p{suffix}", columns))
    assert (read.ids.tolist(), read.classes) == (["7", "8"], ("0", "1"))
    assert read.scores.tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_an_array_may_name_its_classes_which_are_put_in_order(tmp_path: Path) -> None:
    columns = {"id": [1], "label": ["cat"], "logits": [[0.0, math.log(3.0)]]}
    read = read_predictions(write(tmp_path / "p.npz", {**columns, "classes": ["dog", "cat"]}))
    assert read.classes == ("cat", "dog")
    # The softmax of ln 3 and 0.
    assert read.scores.tolist() == [pytest.approx([0.75, 0.25])]


def test_large_logits_do_not_overflow(tmp_path: Path) -> None:
    columns = {"id": [1], "label": ["b"], "logit_a": [-1e5], "logit_b": [1e5]}
    assert read_predictions(write(tmp_path / "p.csv", columns)).scores.tolist() == [[0.0, 1.0]]


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    columns = {"id": [1], "label": [10], "p_10": [0.5], "p_9": [0.25], "p_2": [0.25]}
    assert read_predictions(write(tmp_path / "p.csv", columns)).classes == ("2", "9", "10")


def test_the_predicted_class_alone_has_no_probabilities(tmp_path: Path) -> None:
    columns = {"id": ["x", "y"], "label": ["0", "1"], "predicted": [1, 1]}
    read = read_predictions(write(tmp_path / "p.csv", columns))
    assert (read.scores, read.classes, read.predicted.tolist()) == (None, (), ["1", "1"])


def test_a_number_as_text_keeps_its_zeros(tmp_path: Path) -> None:
    columns = {**table(2), "id": ["001", "1"]}
    assert read_predictions(write(tmp_path / "p.csv", columns)).ids.tolist() == ["001", "1"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"id": ["a", "b", "a"]}, "p.csv, rows 1 and 3 have the same id 'a', expected each id onc"),
        ({"id": ["a", "", "c"]}, "p.csv, row 2 has no id, expected one in each row"),
        ({"label": [0, "", 2]}, "p.csv, row 2 has no label"),
        (
            {"label": [0, 1, 12]},
            "p.csv, row 3 (id 'a2'): the label is '12', expected one of 0, 1, 2",
        ),
        (
            {"p_1": [0.1, "nan", 0.1]},
            "p.csv, row 2 (id 'a1'): class '1' has nan among the probabilities, expected a finite ",
        ),
        ({"p_1": [0.1, "-inf", 0.1]}, "p.csv, row 2 (id 'a1'): class '1' has -inf among the prob"),
        ({"p_1": [0.1, "many", 0.1]}, "p.csv, row 2: p_1 is 'many', expected a number"),
        ({"p_1": [0.1, "", 0.1]}, "p.csv, row 2: p_1 is '', expected a number"),
        (
            {"p_1": [0.1, 0.7, 0.1]},
            "p.csv, row 2 (id 'a1'): the probabilities sum to 0.9, expected 1 within 0.001; give ",
        ),
        (
            {"p_1": [0.1, 1.8, 0.1], "p_0": [0.8, -0.9, 0.1]},
            "p.csv, row 2 (id 'a1'): class '0' has the probability -0.9, expected 0 or more; logi",
        ),
        (
            {"predicted": [0, 2, 2]},
            "p.csv, row 2 (id 'a1'): predicted is '2', expected the most probable class '1'; leav",
        ),
        (
            {"p_0": [0.8, 0.45, 0.1], "p_1": [0.1, 0.45, 0.1], "predicted": [0, 1, 2]},
            "p.csv, row 2 (id 'a1'): predicted is '1', and '0' is as probable, expected one most",
        ),
        (
            {"logit_0": [1, 2, 3], "logit_1": [1, 2, 3]},
            "p.csv holds probabilities and logits, expected one of them",
        ),
    ],
)
def test_what_does_not_fit_is_named_by_row_and_value(
    changes: dict[str, list[Any]], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.csv", {**table(3), **changes})
    assert refusal(Path("p.csv")).startswith(line)


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_missing_value_is_named_in_typed_formats_too(suffix: str, tmp_path: Path) -> None:
    missing = None if suffix == ".parquet" else math.nan
    path = write(tmp_path / f"p{suffix}", {**table(3), "label": [0.0, missing, 2.0]})
    assert refusal(path) == f"{path}, row 2 has no label, expected one in each row"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "name\nx\n",
            "has no column 'id', expected id, label, and p_CLASS for each class, logit_CLASS for",
        ),
        (
            "id,label,x\n1,2,3\n",
            "holds no predictions, expected p_CLASS for each class, logit_CLASS for each class, or "
            "predicted; it has id, label, x",
        ),
    ],
)
def test_a_file_without_its_columns_is_refused(content: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(content)
    assert refusal(path).startswith(f"{path} {line}")


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_file_of_another_format_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(b"id,label\n")
    assert "; expected a whole one " in refusal(path)


def test_arrays_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, id=np.array([object()], dtype=object))
    assert "is no NPZ file: ValueError: Object arrays cannot be loaded" in refusal(path)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.npz", {"id": [1, 2], "label": [0], "predicted": [0]})
    assert "columns of different lengths, expected one length: id 2, label 1" in refusal(path)


def test_lists_in_parquet_must_have_one_length_where_they_are_probabilities(tmp_path: Path) -> None:
    ragged = [[0.5, 0.5], [1.0], [0.2, 0.8]]
    frame = pd.DataFrame({"id": ["a", "b", "c"], "label": [0, 1, 0], "boxes": ragged})
    frame.assign(p_0=0.5, p_1=0.5).to_parquet(tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").columns["boxes"].tolist() == ragged
    frame.assign(probabilities=ragged).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 2: probabilities holds 1 values, expected 2 as in th"):
        read_predictions(tmp_path / "p.parquet")


def test_names_that_are_not_those_of_the_array_are_refused(tmp_path: Path) -> None:
    columns = {"id": [1], "label": [0], "probabilities": [[0.5, 0.5]], "classes": ["0"]}
    path = write(tmp_path / "p.npz", columns)
    assert refusal(path) == (
        f"{path} names 1 classes, expected 2, one for each column of probabilities"
    )


def test_a_class_name_that_is_no_name_is_refused(tmp_path: Path) -> None:
    # Python makes no number of so many digits, by which classes would be put in order.
    path = write(tmp_path / "p.csv", {"id": [1], "label": [0], "p_0": [1], f"p_{'9' * 5_000}": [0]})
    said = f"{path} names a class by 5,000 characters, expected at most 1,000: '999"
    assert refusal(path).startswith(said)


def test_a_file_that_is_not_there_or_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path / "p.csv")
    assert "cannot read" in refusal(tmp_path / "nosuch")
    (tmp_path / "p.txt").write_text("id,label\n")
    assert "ends in '.txt', expected .csv, .parquet, .npz" in refusal(tmp_path / "p.txt")
