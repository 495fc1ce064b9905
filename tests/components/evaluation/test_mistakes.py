"""The mistakes that the report shows, on predictions that are written down here."""

import numpy as np
import pytest

from components.evaluation import mistakes
from components.evaluation.mistakes import KEPT, Mistakes, observe
from components.pictures import GAINED, LOST, WRONG, Bin


def added(*examples: tuple) -> Mistakes:
    made = Mistakes()
    for number, (label, candidate, baseline) in enumerate(examples):
        other = None if baseline is None else np.array(baseline)
        made.merge(observe(label, f"{number:064x}", np.array(candidate), other))
    return made


def rows(made: Mistakes, kind: str) -> list[int]:
    return [int(each.digest, 16) for each in made.ranked(kind)]


def test_mistakes_are_told_by_both_models_and_ranked_by_the_margin() -> None:
    made = added(
        (0, [0.6, 0.4], [0.1, 0.9]),  # gained, by 0.8
        (0, [0.4, 0.6], [0.9, 0.1]),  # lost, by 0.2
        (1, [0.9, 0.1], [0.8, 0.2]),  # wrong with both, by 0.8
        (1, [0.1, 0.9], [0.3, 0.7]),
        (1, [0.8, 0.2], [0.2, 0.8]),  # lost, by 0.6
        (0, [0.7, 0.3], [0.4, 0.6]),  # gained, by 0.2
    )
    assert rows(made, WRONG) == [2, 4, 1]
    assert rows(made, LOST) == [4, 1]
    assert rows(made, GAINED) == [0, 5]
    assert made.ranked(GAINED)[0].margin == 800_000
    assert made.ranked(LOST)[0].baseline == (0.2, 0.8)


def test_without_a_baseline_nothing_is_lost_or_gained() -> None:
    made = added((0, [0.4, 0.6], None), (1, [0.4, 0.6], None))
    assert (rows(made, WRONG), rows(made, LOST), rows(made, GAINED)) == ([0], [], [])


def test_a_prediction_that_is_no_number_is_the_worst_mistake_and_in_no_bin() -> None:
    made = added((0, [0.05, 0.95], None), (0, [np.nan, 0.5], None))
    assert rows(made, WRONG) == [1, 0]
    assert sum(each.rows for each in made.bins()) == 1


def test_bins_hold_the_mean_confidence_and_the_accuracy() -> None:
    made = added((0, [0.9, 0.1], None), (1, [0.92, 0.08], None), (1, [0.0, 1.0], None))
    middle, last = made.bins()  # 0.9 and 0.92 lie within 13/15 to 14/15
    assert middle == Bin(2, pytest.approx(0.91), 0.5)
    assert last == Bin(1, 1.0, 1.0)


def test_thresholds_are_the_mean_probabilities_of_the_labels() -> None:
    made = added((0, [0.9, 0.1, 0.0], None), (0, [0.3, 0.7, 0.0], None), (1, [0.2, 0.8, 0.0], None))
    assert made.thresholds(3).tolist() == [pytest.approx(0.6), pytest.approx(0.8), np.inf]


@pytest.mark.parametrize("parts", [2, 7])
def test_parts_add_up_to_the_whole_in_any_order(parts: int) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), (1000, 2))
    labels = rng.integers(0, 4, 1000)
    examples = [
        observe(int(label), f"{row:064x}", *both)
        for row, (label, both) in enumerate(zip(labels, probabilities, strict=True))
    ]
    whole, sums = Mistakes(), [Mistakes() for _ in range(parts)]
    for row, example in enumerate(examples):
        whole.merge(example)
        sums[row % parts].merge(example)
    merged = Mistakes()
    for part in reversed(sums):
        merged.merge(Mistakes.from_bytes(part.to_bytes()))
    assert merged.to_bytes() == whole.to_bytes()
    assert len(whole.ranked(WRONG)) == KEPT < len(labels) / 2


def test_the_same_image_is_kept_once() -> None:
    made = Mistakes()
    for _ in range(3):
        made.merge(observe(0, "d" * 64, np.array([0.2, 0.8]), None))
    assert len(made.ranked(WRONG)) == 1
    assert made.bins()[0].rows == 3
    assert mistakes.BINS == 15
