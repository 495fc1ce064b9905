"""The gate's statistics against SciPy, statsmodels, brute force and published examples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from pipeline.statistics import (
    binomial,
    binomial_tail,
    holm,
    loss_upper,
    mcnemar,
    wilson_lower,
)

CONFIDENCES = (0.9, 0.95, 0.975, 0.9975)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(
    ("successes", "trials"),
    [(0, 1), (1, 1), (0, 50), (25, 50), (50, 50), (984, 1000), (9917, 10_000), (10_000, 10_000)],
)
def test_wilson_is_scipys_one_sided_lower_bound(successes, trials, confidence) -> None:
    test = stats.binomtest(successes, trials, alternative="greater")
    expected = test.proportion_ci(confidence_level=confidence, method="wilson").low
    assert wilson_lower(successes, trials, confidence) == pytest.approx(expected, abs=1e-12)


def test_wilsons_published_intervals() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3: 95 % two-sided, so 97.5 %
    # one-sided: 81 of 263 gives 0.2553, 15 of 148 gives 0.0624.
    assert wilson_lower(81, 263, 0.975) == pytest.approx(0.2553, abs=5e-5)
    assert wilson_lower(15, 148, 0.975) == pytest.approx(0.0624, abs=5e-5)


@pytest.mark.parametrize(("floor", "errors"), [(0.99, 83), (0.995, 38), (0.997, 21)])
def test_errors_that_a_floor_allows_of_ten_thousand(floor: float, errors: int) -> None:
    assert wilson_lower(10_000 - errors, 10_000, 0.95) >= floor
    assert wilson_lower(10_000 - errors - 1, 10_000, 0.95) < floor


def test_nothing_is_known_of_no_trials() -> None:
    assert wilson_lower(0, 0, 0.95) == 0.0
    assert loss_upper(0, 0, 0, 0.95) == 1.0


@pytest.mark.parametrize("probability", [0.0, 1e-4, 0.01, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("trials", [1, 2, 30, 980, 10_000])
def test_the_binomial_tail_is_scipys(trials: int, probability: float) -> None:
    for at_least in {0, 1, trials // 100, trials // 30, trials // 2, trials - 1, trials}:
        expected = stats.binom.sf(at_least - 1, trials, probability)
        actual = binomial_tail(at_least, trials, probability)
        assert actual == pytest.approx(expected, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("probability", [0.0, 1e-4, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("trials", [0, 1, 30, 980])
def test_the_binomial_probabilities_are_scipys(trials: int, probability: float) -> None:
    for successes in {-1, 0, trials // 30, trials // 2, trials, trials + 1}:
        expected = stats.binom.pmf(successes, trials, probability)
        actual = binomial(successes, trials, probability)
        assert actual == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("at_least", "trials", "probability"), [(9_990, 10_000, 1e-4), (11, 10_000, 0.9)]
)
def test_what_is_beyond_a_float_is_zero_or_one(
    at_least: int, trials: int, probability: float
) -> None:
    assert binomial_tail(at_least, trials, probability) == round(probability)


def test_more_successes_than_trials_are_impossible() -> None:
    assert binomial_tail(3, 2, 0.5) == 0.0


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (0, 5), (5, 0), (7, 1), (14, 26), (26, 14), (300, 250)]
)
def test_mcnemar_is_scipys_binomial_test(lost: int, gained: int) -> None:
    if lost + gained:
        expected = stats.binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue
    else:
        expected = 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(7, 1), (26, 14), (121, 59)])
def test_mcnemar_is_half_of_statsmodels_two_sided_one(lost: int, gained: int) -> None:
    expected = statsmodels_mcnemar([[0, lost], [gained, 0]], exact=True).pvalue
    assert 2 * mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_mcnemars_published_example() -> None:
    # Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850): airway reactivity before
    # and after stem cell transplantation, 7 against 1 of 21 pairs: exact two-sided p = 0.070.
    assert 2 * mcnemar(7, 1) == pytest.approx(0.0703, abs=5e-5)


def test_forty_discordant_pairs_block_at_26_to_14() -> None:
    assert mcnemar(26, 14) <= 0.05 < mcnemar(25, 15)


def test_tangos_published_example() -> None:
    # The same data and paper, Tango's asymptotic score interval: -0.517 to -0.026.
    assert -loss_upper(7, 1, 21, 0.975) == pytest.approx(-0.517, abs=5e-4)
    assert loss_upper(1, 7, 21, 0.975) == pytest.approx(-0.026, abs=5e-4)


def _score(lost: int, gained: int, rows: int, loss: float) -> float:
    """The score statistic from the likelihood itself, maximized numerically under that loss."""

    def minus_log_likelihood(gain: float) -> float:
        cells = ((lost, gain + loss), (gained, gain), (rows - lost - gained, 1 - 2 * gain - loss))
        return -sum(count * np.log(share) for count, share in cells if count)

    low, high = max(0.0, -loss), (1 - loss) / 2
    found = optimize.minimize_scalar(
        minus_log_likelihood,
        bounds=(low + 1e-12, high - 1e-12),
        method="bounded",
        options={"xatol": 1e-12},
    )
    variance = rows * (2 * found.x + loss - loss**2)
    return (lost - gained - rows * loss) / np.sqrt(variance)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.9975])
@pytest.mark.parametrize(
    ("lost", "gained", "rows"), [(7, 1, 21), (1, 7, 21), (26, 14, 10_000), (3, 3, 100)]
)
def test_the_loss_bound_is_where_the_score_test_stops_to_reject(
    lost: int, gained: int, rows: int, confidence: float
) -> None:
    bound = loss_upper(lost, gained, rows, confidence)
    z = stats.norm.ppf(confidence)
    assert _score(lost, gained, rows, bound) == pytest.approx(-z, abs=1e-4)


def test_the_loss_bound_is_above_zero_where_the_models_never_differ() -> None:
    # With no discordant pair the score test is that of Wilson: z^2 / (n + z^2).
    z = stats.norm.ppf(0.95)
    expected = z**2 / (10_000 + z**2)
    assert loss_upper(0, 0, 10_000, 0.95) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", [0.0, 0.002, 0.01])
def test_the_loss_bound_covers_the_true_loss_as_often_as_it_says(loss: float) -> None:
    # 40 of 10,000 discordant pairs besides the loss; 4,000 draws: standard error 0.35 points.
    rng = np.random.default_rng(20261124)
    shares = [0.002 + loss, 0.002, 1 - 0.004 - loss]
    draws = rng.multinomial(10_000, shares, size=4_000)
    covered = np.mean([loss_upper(int(a), int(b), 10_000, 0.95) >= loss for a, b, _ in draws])
    assert covered == pytest.approx(0.95, abs=0.015)


P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holms_textbook_example() -> None:
    # 4 x 0.005 = 0.02, 3 x 0.01 = 0.03, 2 x 0.03 = 0.06, and 0.04 follows 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


@given(P_VALUES, st.data())
def test_a_smaller_p_value_makes_no_adjusted_one_larger(
    p_values: list[float], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(p_values) - 1))
    smaller = [*p_values]
    smaller[index] = data.draw(st.floats(0.0, p_values[index]))
    pairs = zip(holm(smaller), holm(p_values), strict=True)
    assert all(after <= before + 1e-12 for after, before in pairs)


@pytest.mark.parametrize("rows", [1, 2, 7, 12])
def test_one_more_error_makes_every_paired_statistic_worse(rows: int) -> None:
    for lost, gained in itertools.product(range(rows + 1), repeat=2):
        if lost + gained > rows:
            continue
        worse = [(lost, gained - 1)] if gained else []
        worse += [(lost + 1, gained)] if lost + gained < rows else []
        for after in worse:
            assert mcnemar(*after) <= mcnemar(lost, gained) + 1e-12
            bounds = loss_upper(*after, rows, 0.95), loss_upper(lost, gained, rows, 0.95)
            assert bounds[0] >= bounds[1] - 1e-9
