import dataclasses

import pytest

from trainer.hparams import HParams
from trainer.tuning.results import COMPLETED, FAILED, NoneCompleted, Results, Trial, text_of, tuned

FIRST = Trial(1, COMPLETED, {"dropout": 0.0}, 5, eval_accuracy=0.98, eval_loss=0.08, seconds=3.0)
SECOND = dataclasses.replace(FIRST, number=2, eval_accuracy=0.99, eval_loss=0.09)
WORST = dataclasses.replace(FIRST, number=5, eval_accuracy=0.97, eval_loss=0.1)
DIVERGED = Trial(3, FAILED, {"dropout": 0.1}, 5)
EQUAL = dataclasses.replace(SECOND, number=4)


@pytest.mark.parametrize(("objective", "found"), [("accuracy", SECOND), ("loss", FIRST)])
def test_the_objective_decides_which_is_best(objective, found):
    assert Results(objective, (FIRST, SECOND, DIVERGED, WORST)).best == found


def test_of_equal_trials_the_first_is_best_and_failed_ones_come_last():
    results = Results("accuracy", (FIRST, SECOND, DIVERGED, EQUAL))
    assert results.ranked() == [SECOND, EQUAL, FIRST, DIVERGED]


def test_a_search_without_a_completed_trial_has_no_best_one():
    with pytest.raises(NoneCompleted, match="none of the 1 trials of the search was completed"):
        _ = Results("accuracy", (DIVERGED,)).best


def test_results_survive_the_way_through_json():
    results = Results("accuracy", (FIRST, SECOND, DIVERGED))
    assert Results.from_dict(results.to_dict()) == results
    assert results.to_dict()["best"] == 2


def test_what_was_found_replaces_what_the_search_started_from():
    values = {"learning_rate": 0.001235, "max_shift": 1, "tuner/epochs": 2, "tuner/round": 0}
    found = tuned(HParams(epochs=7, dropout=0.5), values)
    # Hyperband's own keys are none of ours.
    assert found == HParams(epochs=7, dropout=0.5, learning_rate=0.001235, max_shift=1)


def test_values_of_extra_are_replaced_beside_the_others():
    hparams = HParams(extra={"units": 2, "heads": 4})
    found = tuned(hparams, {"extra.units": 8, "dropout": 0.25})
    assert found == dataclasses.replace(hparams, dropout=0.25, extra={"units": 8, "heads": 4})


def test_a_choice_is_taken_with_all_its_digits():
    values = {"extra.share": 0.333333, "dropout": 0.123456}
    found = tuned(HParams(extra={"share": 0.666667}), values)
    assert (found.extra["share"], found.dropout) == (0.333333, 0.123456)


def test_a_value_is_shown_in_few_digits():
    assert [text_of(value) for value in (0.12345678, 64, True, "GELU")] == [
        *("0.123457", "64", "true", "GELU")
    ]
