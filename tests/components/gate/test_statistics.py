"""The gate's statistics against SciPy, statsmodels, brute force and published examples."""

import bisect
import gc
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from components.gate.policy import Policy
from components.gate.statistics import (
    binomial_tail,
    clopper_pearson_lower,
    drop_confidence,
    drop_level,
    drop_upper,
    holm,
    likely,
    mcnemar,
    tango_upper,
)
from pipeline.dataset_defaults import DATASET_DEFAULTS, UNKNOWN_SET

pytestmark = pytest.mark.once  # of the standard library alone; test_accuracy.py decides on both

CONFIDENCES = (0.9, 0.95, 0.975, 0.9975)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(
    ("successes", "trials"),
    [(0, 1), (1, 1), (0, 50), (25, 50), (50, 50), (984, 1000), (9917, 10_000), (10_000, 10_000)],
)
def test_the_bound_is_scipys_exact_one_sided_one(successes, trials, confidence) -> None:
    test = stats.binomtest(successes, trials, alternative="greater")
    expected = test.proportion_ci(confidence_level=confidence, method="exact").low
    assert clopper_pearson_lower(successes, trials, confidence) == pytest.approx(expected, abs=1e-9)


def test_clopper_and_pearsons_published_intervals() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 5: 95 % two-sided, so 97.5 %
    # one-sided: 81 of 263 gives 0.2527, 15 of 148 gives 0.0578.
    assert clopper_pearson_lower(81, 263, 0.975) == pytest.approx(0.2527, abs=5e-5)
    assert clopper_pearson_lower(15, 148, 0.975) == pytest.approx(0.0578, abs=5e-5)


@pytest.mark.parametrize(("floor", "errors"), [(0.99, 83), (0.995, 38), (0.997, 20)])
def test_errors_that_a_floor_allows_of_ten_thousand(floor: float, errors: int) -> None:
    assert clopper_pearson_lower(10_000 - errors, 10_000, 0.95) >= floor
    assert clopper_pearson_lower(10_000 - errors - 1, 10_000, 0.95) < floor


def test_nothing_is_known_of_no_trials() -> None:
    assert clopper_pearson_lower(0, 0, 0.95) == 0.0
    assert drop_upper(0, 0, 0, 0.95, max_drop=0.1) == 1.0


# Floors and sizes of the test splits of the known sets, of what else docs/gate.md names, and of
# small sets of somebody's own.
FLOORS = {known.floor for known in DATASET_DEFAULTS.values()} | {UNKNOWN_SET.floor, 0.995, 0.997}
SIZES = (60, 250, 1_000, 10_000, 18_800)
DECISIONS = (1, 2, 10, 100)
POLICY = Policy(floor=0.9, class_floor=0.8, max_cross_entropy=1.0, max_drop=0.05)
LEVELS = (0.05, *(POLICY.release_alpha(decision) for decision in DECISIONS))


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("floor", sorted(FLOORS))
def test_a_model_of_exactly_the_floors_accuracy_passes_no_more_often_than_alpha(floor, rows):
    for alpha in LEVELS:
        most = bisect.bisect_left(
            range(rows + 1),
            True,
            key=lambda errors, alpha=alpha: (
                clopper_pearson_lower(rows - errors, rows, 1.0 - alpha) < floor
            ),
        )
        passes = stats.binom.cdf(most - 1, rows, 1.0 - floor)
        with_one_more = stats.binom.cdf(most, rows, 1.0 - floor)
        assert passes <= alpha < with_one_more


def _passes(rows: int, loss: float, confidence: float, gained: np.ndarray) -> np.ndarray:
    """P(Tango's bound <= loss) of models that lose exactly that, by the probability of a gain."""
    z = stats.norm.ppf(confidence)
    gains = np.arange(int(stats.binom.ppf(1 - 1e-13, rows, gained.max())) + 1)
    low, high = np.full(gains.shape, -1), rows - gains + 1  # of lost ones: passes, does not
    while (high - low > 1).any():
        middle = (low + high) // 2
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = 2 * rows, -middle - gains + (2 * rows - middle + gains) * loss
            share = (np.sqrt(b * b + 4 * a * gains * loss * (1 - loss)) - b) / (2 * a)
            variance = rows * (2 * share + loss * (1 - loss))
            holds = (middle - gains - rows * loss) / np.sqrt(variance) <= -z
        inner = high - low > 1
        low, high = np.where(inner & holds, middle, low), np.where(inner & ~holds, middle, high)
    return np.array(
        [
            stats.binom.pmf(gains, rows, share)
            @ stats.binom.cdf(low, rows - gains, min(1.0, (share + loss) / (1 - share)))
            for share in gained
        ]
    )


def _discordances(rows: int, loss: float) -> np.ndarray:
    """180 probabilities of a gain, others than those that the bound is corrected at.

    At the last ones hardly an example is neither lost nor gained.
    """
    most = (1.0 - loss) / 2
    few = np.geomspace(min(0.07 / rows, most / 30), most, 60)
    return np.sort([*few, *(most - few), *np.linspace(0, most, 60)])


@pytest.mark.parametrize(
    ("rows", "max_drop"),
    [
        *((60, 20 / 60), (250, 0.08), (1_000, 0.02), (10_000, 0.0032), (10_000, 0.01)),
        *((18_800, 0.01), (30, 0.05), (100, 0.8), (100, 0.98), (1_000, 0.96)),
    ],
)
def test_a_model_that_loses_exactly_the_allowed_drop_passes_no_more_often_than_alpha(
    rows: int, max_drop: float
) -> None:
    gained = _discordances(rows, max_drop)
    for alpha in LEVELS:
        confidence = drop_confidence(rows, max_drop, 1.0 - alpha)
        assert confidence >= 1.0 - alpha
        assert _passes(rows, max_drop, confidence, gained).max() <= alpha


def test_tangos_bound_alone_errs_more_often_than_it_says() -> None:
    # Why the bound is corrected: 30 images lost of 10,000 and none gained, and small test sets.
    none_gained = np.array([0.0])
    assert _passes(10_000, 0.003, 0.95, none_gained).max() > 0.05 * 1.08
    assert drop_level(60, 20 / 60, 0.995) > 0.005 * 1.2
    assert drop_level(10_000, 0.003, 0.95) == pytest.approx(
        _passes(10_000, 0.003, 0.95, none_gained).max(), rel=1e-6
    )


@pytest.mark.parametrize(("rows", "loss"), [(60, 20 / 60), (250, 0.08), (1_000, 0.02)])
def test_no_discordance_between_those_that_are_tried_errs_noticeably_more_often(
    rows: int, loss: float
) -> None:
    # 1 % of the level is kept back for them.
    for confidence in (0.95, 0.995):
        worst = _passes(rows, loss, confidence, _discordances(rows, loss)).max()
        assert drop_level(rows, loss, confidence) == pytest.approx(worst, rel=0.01)


def test_the_loss_bound_holds_its_level_on_a_hundred_million_images() -> None:
    # So many are as good as infinitely many: the score bound needs no correction but the reserve.
    confidence = drop_confidence(100_000_000, 0.0032, 0.995)
    assert 0.0049 < 1.0 - confidence < 0.005
    assert drop_level(100_000_000, 0.0032, 0.995) == pytest.approx(0.005, rel=2e-3)


@pytest.mark.parametrize(
    ("at_least", "trials", "probability", "expected"),
    [
        (0, 5, 0.3, 1.0),
        (1, 5, 0.0, 0.0),
        (5, 5, 1.0, 1.0),
        (6, 5, 0.3, 0.0),
        (0, 0, 0.5, 1.0),
        (2, 3, 0.5, 0.5),  # (3 + 1) / 8
        (9_990, 10_000, 1e-4, 0.0),  # too small for a float
        (11, 10_000, 0.9, 1.0),
    ],
)
def test_the_binomial_tail_has_both_its_ends(at_least, trials, probability, expected) -> None:
    assert binomial_tail(at_least, trials, probability) == pytest.approx(expected)


@pytest.mark.parametrize("trials", [10_000, 10_000_000, 100_000_000])
@pytest.mark.parametrize("probability", [0.01, 0.3946, 0.5])
def test_the_binomial_tail_is_scipys_for_very_many_trials(trials: int, probability: float) -> None:
    deviation = (trials * probability * (1.0 - probability)) ** 0.5
    for distance in (-0.3, 0.0, 0.3, 2.0, 5.0):
        at_least = round(trials * probability + distance * deviation)
        expected = stats.binom.sf(at_least - 1, trials, probability)
        assert binomial_tail(at_least, trials, probability) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("lost", "gained"), [(7, 1), (26, 14), (121, 59)])
def test_mcnemar_is_half_of_statsmodels_two_sided_one(lost: int, gained: int) -> None:
    expected = statsmodels_mcnemar([[0, lost], [gained, 0]], exact=True).pvalue
    assert 2 * mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_mcnemars_published_example() -> None:
    # Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850): airway reactivity before
    # and after stem cell transplantation, 7 against 1 of 21 pairs: exact two-sided p = 0.070.
    assert 2 * mcnemar(7, 1) == pytest.approx(0.0703, abs=5e-5)


def test_tangos_published_example() -> None:
    # The same data and paper, Tango's asymptotic score interval: -0.517 to -0.026.
    assert -tango_upper(7, 1, 21, 0.975) == pytest.approx(-0.517, abs=5e-4)
    assert tango_upper(1, 7, 21, 0.975) == pytest.approx(-0.026, abs=5e-4)


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
    bound = tango_upper(lost, gained, rows, confidence)
    z = stats.norm.ppf(confidence)
    assert _score(lost, gained, rows, bound) == pytest.approx(-z, abs=1e-4)


def test_the_loss_bound_is_above_zero_where_the_models_never_differ() -> None:
    # With no discordant pair the score test is that of Wilson 1927: z^2 / (n + z^2).
    z = stats.norm.ppf(0.95)
    expected = z**2 / (10_000 + z**2)
    assert tango_upper(0, 0, 10_000, 0.95) == pytest.approx(expected, rel=1e-9)


def test_the_loss_bound_is_tangos_with_the_corrected_confidence() -> None:
    corrected = drop_confidence(1_000, 0.02, 0.95)
    bound = drop_upper(26, 14, 1_000, 0.95, max_drop=0.02)
    assert bound == tango_upper(26, 14, 1_000, corrected) > tango_upper(26, 14, 1_000, 0.95)


def test_where_any_drop_is_allowed_the_bound_is_tangos_own() -> None:
    assert drop_upper(26, 14, 1_000, 0.95, max_drop=1.0) == tango_upper(26, 14, 1_000, 0.95)


def test_a_smaller_level_never_asks_for_less_confidence() -> None:
    levels = [*map(POLICY.release_alpha, range(1, 60)), POLICY.release_alpha(1_000_000)]
    asked = [drop_confidence(60, 20 / 60, 1.0 - level) for level in levels]
    assert asked == sorted(asked)
    assert asked[-1] < 1.0


@pytest.mark.parametrize("decision", [1, 10_000])
@pytest.mark.parametrize(
    ("rows", "max_drop"),
    [
        *((1, 0.5), (1, 0.96), (7, 0.8), (7, 1.0), (10, 0.0), (60, 1e-200)),
        *((60, 0.999), (100, 0.9993), (100, 0.9999), (1_000, 0.99999), (60, 1.0 - 1e-16)),
    ],
)
def test_the_loss_bound_is_a_number_for_every_max_drop(
    rows: int, max_drop: float, decision: int
) -> None:
    confidence = 1.0 - POLICY.release_alpha(decision)
    for lost, gained in ((0, 0), (rows, 0), (0, rows)):
        assert -1.0 <= drop_upper(lost, gained, rows, confidence, max_drop=max_drop) <= 1.0


def test_nothing_is_shown_where_no_confidence_is_high_enough() -> None:
    # Who loses 0.9999 of 100 images keeps one in 1 - 0.9999**100 = 1.0 % of cases, more often than
    # the level of 0.45 % allows; and the score of 99 lost ones is -0.99 / sqrt(0.01) = -9.9, which
    # no confidence below 1 - 1e-13 (z = 7.3) lets be.
    confidence = 1.0 - POLICY.release_alpha(1)
    assert tango_upper(99, 0, 100, 1.0 - 1e-12) < 0.9999
    assert drop_confidence(100, 0.9999, confidence) >= 1.0 - 1e-13
    assert drop_upper(0, 0, 100, confidence, max_drop=0.9999) == 1.0


@pytest.mark.parametrize("probability", [0.0, 1e-5, 0.01, 0.3, 0.5])
@pytest.mark.parametrize("trials", [0, 1, 60, 1_000, 10_000, 1_000_000])
def test_less_than_one_chance_in_a_billion_lies_outside_of_the_likely_numbers(
    trials: int, probability: float
) -> None:
    found, drawn = likely(trials, probability), stats.binom(trials, probability)
    assert drawn.cdf(found[0] - 1) + drawn.sf(found[-1]) < 1e-9
    assert 0 <= found[0] <= found[-1] <= trials


P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def little_garbage() -> None:
    """statsmodels searches for garbage in each call: not through all that other tests imported."""
    gc.freeze()


@pytest.mark.usefixtures("little_garbage")
@given(P_VALUES)
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holms_textbook_example() -> None:
    # 4 x 0.005 = 0.02, 3 x 0.01 = 0.03, 2 x 0.03 = 0.06, and 0.04 follows 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


@pytest.mark.parametrize("rows", [1, 2, 7, 12])
def test_one_more_error_makes_every_paired_statistic_worse(rows: int) -> None:
    for lost, gained in itertools.product(range(rows + 1), repeat=2):
        if lost + gained > rows:
            continue
        worse = [(lost, gained - 1)] if gained else []
        worse += [(lost + 1, gained)] if lost + gained < rows else []
        for after in worse:
            assert mcnemar(*after) <= mcnemar(lost, gained) + 1e-12
            bounds = tango_upper(*after, rows, 0.95), tango_upper(lost, gained, rows, 0.95)
            assert bounds[0] >= bounds[1] - 1e-9


@pytest.mark.parametrize("confidence", [1.0 - 1e-16, 1.0])
def test_nothing_is_shown_with_a_confidence_that_floats_do_not_tell_from_certainty(
    confidence: float,
) -> None:
    # As for `gate.confidence=0.9999999999999999`, or the ten millionth decision on a test set.
    assert drop_upper(0, 0, 10_000, confidence, max_drop=0.003) == 1.0
