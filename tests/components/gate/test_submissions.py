"""How often series of decisions release a bad model: against exact probabilities, and the claim."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from components.gate.policy import GateConfig, Policy
from components.gate.submissions import (
    ACCURACY,
    INDEPENDENT,
    PASS_OR_FAIL,
    SUBMITTERS,
    Series,
    allowed_errors,
    submit,
)
from pipeline.dataset_defaults import policy_for

SIMULATIONS = 4_000
POLICY = Policy(floor=0.96, class_floor=0.8, max_cross_entropy=1.0, max_drop=0.05)


def series(submitter: str, policy: Policy = POLICY, *, decisions: int = 100, seed: int = 0):
    return submit(
        submitter, policy, rows=1_000, decisions=decisions, simulations=SIMULATIONS, seed=seed
    )


def probability(submitter: str, policy: Policy) -> float:
    """That the first or the second decision on 1,000 images errs, summed over all draws."""
    first, second = (allowed_errors(policy, 1_000, decision) for decision in (1, 2))
    doubts = np.arange(20, 160)
    doubt_shares = stats.binom.pmf(doubts, 1_000, 2 * (1.0 - policy.floor))
    errs = np.empty(len(doubts))
    for at, doubtful in enumerate(doubts.tolist()):
        wrong = np.arange(doubtful + 1)
        shares = stats.binom.pmf(wrong, doubtful, 0.5)
        after = np.full(wrong.shape, stats.binom.cdf(second, doubtful, 0.5))
        if submitter == ACCURACY:  # half of the guesses are turned, and those that help are kept
            turned = (doubtful + 1) // 2
            enough = np.ceil((wrong + turned - second) / 2)  # of the turned ones, wrong before
            after = stats.hypergeom.sf(enough - 1, doubtful, wrong, turned)
            after[wrong <= second] = 1.0
        errs[at] = shares @ np.where(wrong <= first, 1.0, after)
    if submitter == INDEPENDENT:
        levels = [stats.binom.cdf(most, 1_000, 1.0 - policy.floor) for most in (first, second)]
        return 1.0 - (1.0 - levels[0]) * (1.0 - levels[1])
    return float(doubt_shares @ errs)


@pytest.mark.parametrize("submitter", SUBMITTERS)
def test_two_decisions_release_a_bad_model_as_often_as_computed(submitter: str) -> None:
    loose = dataclasses.replace(POLICY, confidence=0.51, test_budget=1)
    expected = probability(submitter, loose)
    found = submit(submitter, loose, rows=1_000, decisions=2, simulations=200_000, seed=0)
    deviation = math.sqrt(expected * (1.0 - expected) / found.simulations)
    assert found.share == pytest.approx(expected, abs=4 * deviation)


def test_independent_bad_models_are_released_as_often_as_computed() -> None:
    levels = [
        stats.binom.cdf(allowed_errors(POLICY, 1_000, decision), 1_000, 0.04)
        for decision in range(1, 101)
    ]
    expected = 1.0 - math.prod(1.0 - level for level in levels)
    assert expected < sum(levels) < 0.05
    deviation = math.sqrt(expected * (1.0 - expected) / SIMULATIONS)
    assert series(INDEPENDENT).share == pytest.approx(expected, abs=4 * deviation)


@pytest.mark.parametrize(
    ("name", "rows"), [("mnist", 10_000), ("mnist_sample", 1_000), ("cifar10", 10_000)]
)
@pytest.mark.parametrize("submitter", [INDEPENDENT, PASS_OR_FAIL])
def test_a_hundred_decisions_release_a_bad_model_no_more_often_than_alpha(name, rows, submitter):
    policy = policy_for(GateConfig(), name, num_classes=10, test_rows=rows)
    low, _ = submit(
        submitter, policy, rows=rows, decisions=100, simulations=SIMULATIONS, seed=0
    ).interval
    assert low < policy.alpha


def test_who_sees_the_accuracy_gets_a_bad_model_released() -> None:
    # What docs/gate.md says is not protected.
    assert series(ACCURACY).share > 0.9
    # The first decision had nothing to learn from.
    assert series(ACCURACY, decisions=1).share < 0.01


def test_with_a_floor_below_one_half_the_claim_is_the_same() -> None:
    low = dataclasses.replace(POLICY, floor=0.3)
    assert series(INDEPENDENT, low).share < 0.05
    assert series(ACCURACY, low).share > 0.9


@pytest.mark.parametrize("submitter", SUBMITTERS)
def test_the_same_seed_draws_the_same(submitter: str) -> None:
    loose = dataclasses.replace(POLICY, confidence=0.6)
    first, again, other = (series(submitter, loose, decisions=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_no_error_at_all_may_be_too_many() -> None:
    # 0.96^100 is 0.017: more than the first decision may spend.
    assert allowed_errors(POLICY, 100, 1) == -1
    assert allowed_errors(POLICY, 1_000, 1) == 24
    assert allowed_errors(dataclasses.replace(POLICY, floor=0.0), 1_000, 1) == 1_000


def test_the_interval_is_exact() -> None:
    low, high = Series(INDEPENDENT, simulations=1_000, erred=0).interval
    assert low == 0.0
    assert high == pytest.approx(1.0 - 0.025 ** (1 / 1_000))
