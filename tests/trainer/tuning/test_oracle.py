"""What is searched and proposed, without any training: the scores are made up."""

import json

import keras_tuner
import pytest

from trainer import progress
from trainer.hparams import HYPER_PARAMETERS, HParams, HyperParameter
from trainer.tuning.oracle import make_oracle, search_space
from trainer.tuning.settings import TuningConfig

pytestmark = [
    # keras-tuner's own calls, and what scikit-learn says of few points.
    pytest.mark.filterwarnings("ignore:(\\n|.)*lbfgs failed to converge"),
    pytest.mark.filterwarnings("ignore:The optimal value found for"),
]


SEARCHED = {
    *("learning_rate", "width", "dropout", "weight_decay", "label_smoothing"),
    *("max_shift", "max_rotation", "max_zoom"),
}


def accuracy(values):
    """Best in the middle of the learning rates, and without dropout."""
    return 0.9 - abs(values["learning_rate"] - 0.01) - values["dropout"] / 10


def opened(tmp_path, learning_rate=0.01, side=28, **changes):
    settings = TuningConfig(enabled=True, **changes)
    hparams = HParams(epochs=3, dropout=0.5, learning_rate=learning_rate)
    oracle = make_oracle(settings, hparams, side=side, seed=0)
    oracle._set_project_dir(str(tmp_path), "search")
    oracle.verbose = 0
    return oracle


def trials(oracle, most=100):
    """The values of each trial, in order, until the oracle ends the search."""
    seen = []
    while len(seen) < most:
        trial = oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            break
        values = trial.hyperparameters.values
        seen.append(values)
        oracle.update_trial(trial.trial_id, {"eval_accuracy": accuracy(values)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return seen


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband"])
def test_the_first_trial_is_what_the_search_starts_from(tmp_path, algorithm):
    first, second = trials(opened(tmp_path, algorithm=algorithm), most=2)
    assert (first["learning_rate"], first["dropout"], first["max_shift"]) == (0.01, 0.5, 2)
    assert {name: second[name] for name in first} != first


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband"])
def test_a_drawn_learning_rate_has_four_digits_and_the_trainings_own_has_all(tmp_path, algorithm):
    own, *drawn = [
        values["learning_rate"]
        for values in trials(opened(tmp_path, 0.0123456, algorithm=algorithm), most=6)
    ]
    assert own == 0.0123456
    assert drawn == [float(f"{rate:.4g}") for rate in drawn]
    assert drawn != [float(f"{rate:.3g}") for rate in drawn]


def test_a_search_with_the_seed_0_can_be_repeated(tmp_path):
    first, second = (trials(opened(tmp_path / name), most=2) for name in "ab")
    assert first == second


# Hyperband's brackets of 1 and 3 epochs are over after six trials, and then repeated.
@pytest.mark.parametrize(("algorithm", "most"), [("bayesian", 4), ("hyperband", 14)])
def test_there_are_as_many_trials_as_allowed(tmp_path, algorithm, most):
    assert len(trials(opened(tmp_path, algorithm=algorithm, max_trials=most))) == most


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband"])
def test_trials_that_fail_are_said_to_and_end_no_search(tmp_path, caplog, algorithm):
    caplog.set_level("INFO", logger=progress.LOGGER.name)
    oracle = opened(tmp_path, algorithm=algorithm, max_trials=5)
    for _ in range(5):
        trial = oracle.create_trial("tuner0")
        assert trial.status == "RUNNING"
        trial.status, oracle.heard_at = "FAILED", None
        oracle.end_trial(trial)
        assert oracle.heard_at is not None
    assert oracle.create_trial("tuner0").status == "STOPPED"
    assert caplog.messages[1::2] == [f"trial {number}: failed" for number in range(1, 6)]
    assert len(caplog.messages) == 2 * 5
    assert "tuner/" not in caplog.text  # hyperband's own


def test_hyperband_tries_the_best_again_with_more_epochs(tmp_path):
    seen = trials(opened(tmp_path, algorithm="hyperband", max_trials=4))
    # The bracket of 1 and 3 epochs begins with 3 trials and goes on with the best of them.
    assert [values["tuner/epochs"] for values in seen] == [1, 1, 1, 3]
    best = max(seen[:3], key=accuracy)
    assert accuracy(seen[3]) == accuracy(best)


@pytest.mark.parametrize(("trials", "at_random"), [(2, 3), (11, 3), (12, 4), (20, 6)])
def test_a_third_of_the_trials_is_random_and_at_least_three(tmp_path, trials, at_random):
    assert opened(tmp_path, max_trials=trials).num_initial_points == at_random


def test_the_gaussian_process_guides_the_trials_after_the_random_ones(tmp_path):
    seen = [accuracy(values) for values in trials(opened(tmp_path, max_trials=6))]
    assert max(seen[3:]) > max(seen[:3])  # the first three are random


def test_no_trial_but_the_first_begins_when_the_time_is_up(tmp_path):
    assert len(trials(opened(tmp_path, max_minutes=1e-9))) == 1


def test_the_time_of_an_interrupted_search_counts(tmp_path):
    oracle = opened(tmp_path, max_minutes=10.0)
    state = json.loads(json.dumps(oracle.get_state()))
    assert 0.0 <= state["seconds_used"] < 60.0
    oracle.set_state({**state, "seconds_used": 500.0})
    assert len(trials(oracle, most=2)) == 2
    saved = json.loads((tmp_path / "search" / "oracle.json").read_text())
    assert saved["ongoing_trials"] == {}
    oracle.trials = dict(reversed(oracle.trials.items()))  # keras-tuner reads them in any order
    oracle.set_state({**state, "seconds_used": 601.0})
    assert [*oracle.trials] == ["00", "01"]
    assert trials(oracle) == []


def test_whoever_watches_is_told_of_each_trial_and_of_the_best(tmp_path, caplog):
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        scores = [accuracy(values) for values in trials(opened(tmp_path), most=4)]
    lines = caplog.messages
    assert lines[0].startswith("trial 1: learning_rate 0.01, width 1, dropout 0.5, ")
    assert lines[1] == "trial 1: eval accuracy 0.8500, best 0.8500 (trial 1)"
    best = [scores.index(max(scores[: number + 1])) for number in range(4)]
    assert [line[line.rindex(", ") :] for line in lines[1::2]] == [
        f", best {scores[number]:.4f} (trial {number + 1})" for number in best
    ]
    assert best != [*range(4)]


@pytest.mark.parametrize(
    "hparams", [HParams(), HParams(learning_rate=1.0, dropout=0.35, max_shift=4, width=2)]
)
def test_the_search_starts_from_the_hyper_parameters_themselves(hparams):
    space = search_space(hparams, objective="accuracy", side=28)
    assert space.values == {name: getattr(hparams, name) for name in SEARCHED}


def test_what_a_plugin_adds_is_searched_if_it_declares_choices(monkeypatch):
    for name, choices in (("units", (32, 64)), ("any", ())):
        added = HyperParameter("of a plugin", default=64, parse=int, choices=choices)
        monkeypatch.setitem(HYPER_PARAMETERS._entries, name, added)
    values = search_space(HParams(), objective="accuracy", side=28).values
    assert values.keys() - SEARCHED == {"extra.units"}
    assert values["extra.units"] == 64


def test_learning_rates_are_a_tenth_to_three_times_that_of_the_training():
    rate, *_ = search_space(HParams(learning_rate=0.5), objective="accuracy", side=28).space
    assert (rate.min_value, rate.max_value, rate.sampling) == (0.05, 1.5, "log")


def test_every_value_that_can_be_drawn_is_valid():
    space = search_space(HParams(), objective="accuracy", side=28)
    for seed in range(20):
        drawn = {hp.name: hp.random_sample(seed) for hp in space.space}
        assert HParams(**drawn).learning_rate <= 0.03


def test_the_loss_is_made_small_and_does_not_judge_what_raises_it_on_purpose():
    settings = TuningConfig(objective="loss")
    oracle = make_oracle(settings, HParams(color_jitter=0.3), side=28, seed=0)
    assert oracle.objective == keras_tuner.Objective("eval_loss", "min")
    space = oracle.get_space()
    assert set(space.values) == SEARCHED - {"label_smoothing"} | {"color_jitter"}


def test_no_image_is_shifted_by_its_own_side_or_more():
    hparams = HParams(max_shift=0)
    for side, shifts in ((1, [0]), (3, [0, 1, 2])):
        space = search_space(hparams, objective="accuracy", side=side)
        values = {one.name: one.values for one in space.space[1:]}
        assert values["max_shift"] == shifts
        assert values["max_rotation"] == [0.0, 5.0, 10.0, 15.0]
