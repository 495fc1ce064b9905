import numpy as np

from components.confident_learning import NO_CLASS, counted_for, label_errors, thresholds

# Two classes; the last example of each is labelled as the other one.
LABELS = np.array([0, 0, 1, 1, 1, 0])
SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.95, 0.05], [0.2, 0.8]])


def test_a_threshold_is_the_mean_score_of_the_examples_with_that_label() -> None:
    assert np.allclose(thresholds(SCORES, LABELS), [(0.9 + 0.8 + 0.2) / 3, (0.9 + 0.7 + 0.05) / 3])
    assert thresholds(SCORES, LABELS, quantile=0.5).tolist() == [0.8, 0.7]
    with_a_third = np.hstack([SCORES, np.zeros((6, 1))])
    assert thresholds(with_a_third, LABELS)[2] == np.inf


def test_an_example_counts_for_the_best_class_that_it_reaches() -> None:
    scores = np.array([[0.5, 0.4, 0.1], [0.5, 0.45, 0.05], [0.3, 0.3, 0.4]])
    labels = np.array([1, 2, 0])
    assert counted_for(scores, labels, np.array([0.6, 0.4, 0.9])).tolist() == [1, 1, NO_CLASS]


def test_an_example_counts_for_no_class_that_it_looks_less_like_than_its_label() -> None:
    """Few examples have the third label, so that its threshold is below most scores."""
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.9, 0.0, 0.1], [0.4, 0.0, 0.6]])
    labels = np.array([0, 1, 0, 0])
    assert counted_for(scores, labels, np.array([0.8, 0.8, 0.05])).tolist() == [-1, -1, 0, 2]


def test_errors_are_ranked_by_the_margin() -> None:
    found = label_errors(SCORES, LABELS, thresholds(SCORES, LABELS))
    assert found.rows.tolist() == [4, 5]
    assert found.looks_like.tolist() == [0, 1]
    assert np.allclose(found.margins, [0.95 - 0.05, 0.8 - 0.2])


def test_errors_of_one_margin_stand_in_the_order_of_their_rows() -> None:
    scores, labels = np.tile(SCORES, (50, 1)), np.tile(LABELS, 50)
    found = label_errors(scores, labels, thresholds(SCORES, LABELS))
    assert found.rows.tolist() == [*range(4, 300, 6), *range(5, 300, 6)]
