"""Predictions of two files on the same test images: paired by id, counted, and given a digest."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.evaluation import pairing
from components.evaluation.pairing import Cut, Pairs, pair
from components.evaluation.prediction_files import PredictionsFile, read_predictions
from components.example_gen.data_error import DataError
from components.gate.evidence import Tally
from tests.components.evaluation.prediction_samples import table, write


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(columns: dict[str, list[Any]], name: str = "p.csv") -> PredictionsFile:
        return read_predictions(write(tmp_path / name, columns))

    return write_and_read


def turned(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same rows and columns, both from the last to the first."""
    return {name: values[::-1] for name, values in reversed(columns.items())}


def test_rows_are_paired_by_id_and_not_by_order(read) -> None:
    candidate = read(table(9, wrong=[4]))
    pairs = pair(candidate, read(turned(table(9, wrong=[0, 1])), "b.csv"))
    assert pairs.evidence([]).overall == Tally(rows=9, correct=8, lost=1, gained=2)


def test_without_a_baseline_nothing_is_compared(read) -> None:
    evidence = pair(read(table(9, wrong=[4])), None).evidence([])
    assert (evidence.overall, evidence.compared) == (Tally(rows=9, correct=8), False)
    # Eight times 0.8 and once 0.1, whose class is among the two most probable (a tie).
    assert evidence.cross_entropy == round(-(8 * np.log(0.8) + np.log(0.1)) / 9, 6)
    assert evidence.top_2_accuracy == 1.0


def test_a_baseline_may_hold_the_predicted_class_alone(read) -> None:
    baseline = {**table(3), "predicted": [0, 1, 0]}
    for name in ("p_0", "p_1", "p_2"):
        del baseline[name]
    evidence = pair(read(table(3)), read(baseline, "b.csv")).evidence([])
    assert evidence.overall == Tally(rows=3, correct=3, gained=1)


def alone(predicted: list[Any]) -> dict[str, list[Any]]:
    columns = table(len(predicted))
    return {"id": columns["id"], "label": columns["label"], "predicted": predicted}


def test_one_class_is_no_classification(read) -> None:
    columns = {**alone([0, 0, 0]), "label": ["cat"] * 3, "predicted": ["cat"] * 3}
    with pytest.raises(DataError, match="has the label 'cat' in each row, expected two or more"):
        pair(read(columns), None)


def test_of_predicted_classes_alone_the_labels_are_the_classes(read) -> None:
    pairs = pair(read(alone([0, 1, 1])), None)
    evidence = pairs.evidence([])
    assert pairs.classes == ("0", "1", "2")
    assert (evidence.overall, evidence.cross_entropy) == (Tally(rows=3, correct=2), None)
    assert evidence.top_2_accuracy is None


def test_very_many_classes_need_no_matrix_of_all_pairs(read) -> None:
    rows = range(4_000)
    file = read({"id": rows, "label": rows, "predicted": [*rows[1:], 0]})
    tracemalloc.start()
    evidence = pair(file, file).evidence([])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert evidence.overall == Tally(rows=4_000, correct=0)
    assert peak < 4_000 * 4_000  # a byte for each pair


def test_a_predicted_class_that_no_row_has_as_its_label_is_refused(read) -> None:
    with pytest.raises(DataError, match=r"row 3 .*the predicted class is '7', expected one of 0, "):
        pair(read(alone([0, 1, 7])), None)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"id": ["a0", "a1", "b2"]},
            r"p.csv, row 3 \(id 'a2'\): \S+b.csv has no row of this id; expected the same test",
        ),
        (
            {"label": [0, 2, 2]},
            r"p.csv, row 2 \(id 'a1'\): the label is '1', and '2' in \S+b.csv; expected the same l",
        ),
        ({"p_3": [0.0, 0.0, 0.0]}, r"p.csv has the classes 0, 1, 2 and \S+b.csv 0, 1, 2, 3, exp"),
    ],
)
def test_files_of_other_images_labels_or_classes_are_refused(changes, line: str, read) -> None:
    with pytest.raises(DataError, match=line):
        pair(read(table(3)), read({**table(3), **changes}, "b.csv"))


def test_a_baseline_of_more_images_is_refused(read) -> None:
    with pytest.raises(
        DataError,
        match=r"b.csv, row 4 \(id 'a3'\): \S+p.csv has no row of this id, nor of 1 more; ",
    ):
        pair(read(table(3)), read(table(5), "b.csv"))


# --- slices --------------------------------------------------------------------------------------


def sliced(pairs: Pairs, text: str) -> dict[str, int]:
    slices = pairs.evidence([Cut.parse(text)]).slices
    return {name: tally.rows for name, tally in slices.items()}


def test_numbers_are_cut_into_bands_and_texts_by_value(read) -> None:
    columns = {**table(4), "age": [10, 30, 31, 99.5], "camera": ["b", "a", "b", "b"]}
    pairs = pair(read(columns), None)
    assert sliced(pairs, "age:30,60") == {"age<30": 1, "30<=age<60": 2, "60<=age": 1}
    assert sliced(pairs, "camera") == {"camera=a": 1, "camera=b": 3}
    assert sliced(pairs, "camera=b") == {"camera=b": 3, "camera=(other)": 1}


@pytest.mark.parametrize(
    ("cut", "line"),
    [
        ("size", "has no column 'size' for slices, expected one of age, number"),
        ("age:30", r"row 2 \(id 'a1'\): age is nan, expected a finite number"),
        ("number", "has 101 values of number, expected at most 100 slices; cut numbers into band"),
        ("camera=front,raer", "p.csv has no row with camera=raer, expected one of front, rear"),
    ],
)
def test_a_column_that_cannot_be_cut_is_refused(cut: str, line: str, read) -> None:
    columns = {**table(101), "age": [1.0, "nan", *[2.0] * 99], "number": [*range(101)]}
    columns["camera"] = ["front", *["rear"] * 100]
    with pytest.raises(DataError, match=line):
        sliced(pair(read(columns), None), cut)


def test_two_slices_of_one_name_and_other_rows_are_refused(read) -> None:
    pairs = pair(read({**table(4), "camera": ["a", "b", "c", "c"]}), None)
    with pytest.raises(DataError, match=r"named camera=\(other\), .* of camera in one list"):
        pairs.evidence([Cut.parse("camera=a,b"), Cut.parse("camera=a")])
    assert len(pairs.evidence([Cut.parse("camera=a,b"), Cut.parse("camera")]).slices) == 4


# --- digests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["q.csv", "q.parquet", "q.npz"])
def test_digests_do_not_depend_on_format_and_order(name: str, read) -> None:
    one, other = read(table(5)), read(turned(table(5)), name)
    assert pairing.split_digest(one) == pairing.split_digest(other)
    assert pairing.model_digest(one) == pairing.model_digest(other)


def both_formats(tmp_path: Path, columns: dict[str, object]) -> list[PredictionsFile]:
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    return [read_predictions(tmp_path / name) for name in ("p.csv", "p.parquet")]


@pytest.mark.parametrize("kind", ["p_", "logit_"])
def test_the_text_of_a_float32_has_the_digest_of_the_float32(kind: str, tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    powers = np.exp(logits)
    scores = logits if kind == "logit_" else powers / powers.sum(axis=1, keepdims=True)
    columns = {"id": range(2000), "label": [0, 1] * 1000}
    scored = {f"{kind}{label}": scores[:, label] for label in range(2)}
    one, other = both_formats(tmp_path, {**columns, **scored})
    assert pairing.model_digest(one) == pairing.model_digest(other)


def test_predictions_that_float64_alone_tells_apart_are_of_different_models(read) -> None:
    rows = {"id": [1, 2], "label": [0, 1], "p_0": [0.5, 0.5]}
    one, other = (
        read({**rows, "p_1": [0.5, 0.5]}),
        read({**rows, "p_1": [0.5, 0.5 + 1e-12]}, "q.csv"),
    )
    assert (one.given == other.given).all()
    assert pair(one, None).evidence([]).overall != pair(other, None).evidence([]).overall
    assert pairing.model_digest(one) != pairing.model_digest(other)


def test_texts_are_compared_as_a_run_compares_those_of_a_table(read) -> None:
    columns = {"id": [1, 2, 3], "label": [0, 1, 0], "predicted": [0, 1, 0]}
    file = read({**columns, "camera": ["front ", "front", "Cafe\u0301"]})
    for cut in ("camera", "camera=front,Caf\u00e9"):
        slices = pair(file, None).evidence([Cut.parse(cut)]).slices
        assert (slices["camera=front"].rows, slices["camera=Caf\u00e9"].rows) == (2, 1)


def test_a_float32_on_the_edge_of_a_band_lies_above_it_in_every_format(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "label": [0, 1], "predicted": [0, 1]}
    heat = np.float32([36.5, 36.6])
    for read in both_formats(tmp_path, {**columns, "heat": heat}):
        found = pair(read, None).evidence([Cut.parse("heat:36.6")]).slices
        assert {name: each.rows for name, each in found.items()} == {
            "heat<36.6": 1,
            "36.6<=heat": 1,
        }


def test_the_digest_of_the_split_is_of_ids_and_labels_and_that_of_the_model_of_predictions(
    read,
) -> None:
    one, other = read(table(5)), read(table(5, wrong=[2]), "q.csv")
    assert pairing.split_digest(one) == pairing.split_digest(other)
    assert pairing.model_digest(one) != pairing.model_digest(other)
    relabelled = read({**table(5), "label": [0, 1, 2, 0, 0]}, "r.csv")
    assert pairing.split_digest(one) != pairing.split_digest(relabelled)
    assert pairing.model_digest(one) == pairing.model_digest(relabelled)
