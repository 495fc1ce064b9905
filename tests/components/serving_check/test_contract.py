import numpy as np
import pytest

from components.serving_check.contract import (
    BadAnswer,
    ServingError,
    one_hot_labels,
    probabilities,
)

CLASSES = ("cat", "dog")
GOOD = {
    "probabilities": np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]),
    "class_name": np.array([b"cat", b"dog", b"dog"], object),
    "class_index": np.array([0, 1, 1]),  # of two equal ones, either may be named
}


def test_a_good_answer_gives_its_probabilities():
    found = probabilities(GOOD, CLASSES, rows=3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, GOOD["probabilities"])


@pytest.mark.parametrize(
    ("output", "value", "reason"),
    [
        ("probabilities", GOOD["probabilities"][:2], "probabilities is 2x2 float64, expected 3x2"),
        ("probabilities", GOOD["probabilities"] / 2, "probabilities sum to 0.5, expected 1"),
        (
            "probabilities",
            GOOD["probabilities"] * [[1], [1], [0.9]],
            "probabilities sum to 0.9, expected 1",
        ),
        ("probabilities", np.full((3, 2), np.nan), "probabilities sum to nan, expected 1"),
        ("class_index", np.array(1), "class_index is scalar int64, expected 3 numbers"),
        ("class_index", GOOD["class_name"], "class_index is 3 object, expected 3 numbers"),
        ("class_index", np.array([1, 1, 1]), "class_index is not the most probable class"),
        ("class_index", np.array([0, 1, 2]), "class_index is not the most probable class"),
        ("class_name", GOOD["class_name"][::-1], "class_name is not the name of class_index"),
        ("class_name", np.array(b"cat", object), "class_name is not the name of class_index"),
        ("logits", np.zeros(3), "the outputs are class_index, class_name, logits, probabilities"),
    ],
)
def test_another_answer_than_promised_says_what_is_wrong(output, value, reason):
    with pytest.raises(BadAnswer, match=reason):
        probabilities({**GOOD, output: value}, CLASSES, rows=3)


def test_an_answer_without_all_outputs_says_which_it_has():
    with pytest.raises(BadAnswer, match=r"the outputs are class_name$"):
        probabilities({"class_name": GOOD["class_name"]}, CLASSES, rows=3)


def test_labels_come_back_one_hot():
    answer = {"one_hot_label": np.array([[0.0, 1.0], [1.0, 0.0]])}
    np.testing.assert_array_equal(
        one_hot_labels(answer, np.array([1, 0]), num_classes=2), [[0, 1], [1, 0]]
    )
    with pytest.raises(BadAnswer, match="the outputs are label, one_hot_label"):
        one_hot_labels({**answer, "label": np.array([1, 0])}, np.array([1, 0]), num_classes=2)
    with pytest.raises(BadAnswer, match="one_hot_label is not that of the labels"):
        one_hot_labels(answer, np.array([1, 1]), num_classes=2)


@pytest.mark.parametrize(
    ("given", "line"),
    [("a\nb", "a"), ("", "no reason given"), ("x" * 900, "x" * 300)],
)
def test_a_reason_is_one_line(given, line):
    assert str(ServingError(given)) == line
