"""The gate's power against brute force, simulation, SciPy, statsmodels and published numbers."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import binom_test_reject_interval

from components.gate import accuracy, decide, power
from components.gate.check import passed
from components.gate.evidence import Case, Evidence, Provenance, Tally
from components.gate.policy import Policy
from components.gate.power import Rule
from components.gate.slices import Bands
from components.gate.statistics import mcnemar
from tests.components.gate.cases import total

POLICY = Policy(floor=0.9, class_floor=0.8, max_cross_entropy=1.0, max_drop=0.05)
ANYTHING = dataclasses.replace(POLICY, floor=0.0, class_floor=0.0, max_drop=1.0)


def evidence(*classes: Tally, compared: bool = True) -> Evidence:
    return Evidence(
        overall=total(classes),
        classes={str(index): tally for index, tally in enumerate(classes)},
        slices={},
        cross_entropy=0.1,
        top_2_accuracy=1.0,
        compared=compared,
    )


def released(given: Evidence, policy: Policy = POLICY, *, decision: int = 1) -> bool:
    """What the gate itself says."""
    provenance = Provenance(given.overall.rows, "d", "d", "m", "m")
    return passed(decide.decide(Case(given, policy, provenance, decision)))


def mcnemar_rule(rows: int, gained: float, alpha: float) -> Rule:
    """McNemar's test alone, for every number of gained examples."""
    critical = []
    for count in range(rows + 1):
        refused = (lost for lost in range(rows - count + 1) if mcnemar(lost, count) <= alpha)
        critical.append((count, next(refused, rows + 1)))
    return Rule(rows, gained, gained, 1.0 - 2 * gained, tuple(critical))


def error_rule(rows: int, accuracy: float, critical: int) -> Rule:
    return Rule(rows, 1.0 - accuracy, 0.0, accuracy, ((0, critical),))


# --- one rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.2, 0.9])
def test_errors_are_refused_with_scipys_binomial_probability(drop: float) -> None:
    rule = error_rule(500, 0.95, critical=40)
    assert rule.refusal(drop) == pytest.approx(stats.binom.sf(39, 500, 0.05 + drop), rel=1e-9)


def test_the_power_of_mcnemars_test_is_that_of_gpower() -> None:
    # G*Power 3.1 manual, chapter 5, after O'Brien 2002: 50 pairs, probabilities 0.32 and 0.08,
    # one-sided at 5 %: 0.8393.
    assert mcnemar_rule(50, 0.08, 0.05).refusal(0.24) == pytest.approx(0.8393, abs=1e-4)


@pytest.mark.parametrize(
    ("gained", "drop"), [(0.0, 0.0), (0.0, 0.4), (0.02, 0.1), (0.02, 0.8), (0.2, 0.0), (0.2, 0.4)]
)
def test_the_power_of_a_paired_rule_is_the_sum_over_all_outcomes(gained: float, drop: float):
    rows = 12
    rule = mcnemar_rule(rows, gained, 0.05)
    shares = [gained, gained + drop, 1.0 - 2 * gained - drop]
    expected = sum(
        stats.multinomial.pmf([up, down, rows - up - down], rows, shares)
        for up, down in itertools.product(range(rows + 1), repeat=2)
        if up + down <= rows and mcnemar(down, up) <= 0.05
    )
    assert rule.refusal(drop) == pytest.approx(expected, abs=1e-12)


def test_a_rule_may_refuse_whatever_is_lost_beside_few_gained_ones() -> None:
    rows, shares = 12, [0.1, 0.15, 0.75]
    critical = [max(0, gained - 2) for gained in range(rows + 1)]
    rule = Rule(rows, 0.1, 0.1, 0.8, tuple(enumerate(critical)))
    expected = sum(
        stats.multinomial.pmf([up, down, rows - up - down], rows, shares)
        for up, down in itertools.product(range(rows + 1), repeat=2)
        if up + down <= rows and down >= critical[up]
    )
    assert rule.refusal(0.05) == pytest.approx(expected, abs=1e-12)


def test_the_power_of_mcnemars_test_comes_near_connors_approximation() -> None:
    # Connor 1987, formula 3.3 solved for the power: discordance psi, difference d, n pairs. Normal,
    # without correction for continuity, and so a little above the exact one.
    rows, gained, drop = 10_000, 0.01, 0.003
    psi = 2 * gained + drop
    z = (math.sqrt(rows) * drop - stats.norm.ppf(0.95) * math.sqrt(psi)) / math.sqrt(psi - drop**2)
    actual = power.of_all(evidence(Tally(rows, 9_800, lost=100, gained=100)), ANYTHING)
    assert actual is not None
    assert stats.norm.cdf(z) - 0.03 < actual.refusal(drop) < stats.norm.cdf(z)


def test_the_minimum_detectable_drop_is_refused_as_often_as_asked_and_no_smaller_one() -> None:
    for rule in (error_rule(1000, 0.98, 40), mcnemar_rule(200, 0.03, 0.05)):
        for probability in (0.2, 0.8, 0.95):
            drop = rule.minimum_detectable_drop(probability)
            assert drop is not None
            assert rule.refusal(drop) >= probability > rule.refusal(drop - 0.0501 / rule.rows)


def test_what_is_never_refused_so_often_has_no_detectable_drop() -> None:
    assert error_rule(3, 1.0, critical=4).minimum_detectable_drop(0.8) is None
    # A drop of 0.05 images less leaves (2.95 / 3)^3 = 0.951.
    assert error_rule(3, 1.0, critical=3).minimum_detectable_drop(0.96) == 1.0


def test_what_is_refused_without_a_drop_needs_none() -> None:
    assert error_rule(10, 0.5, critical=1).minimum_detectable_drop(0.8) == 0.0


# --- the gate's rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(("decision", "errors"), [(1, 74), (100, 62)])
def test_the_floor_refuses_from_where_the_gate_does(decision: int, errors: int) -> None:
    # docs/gate.md: 74 errors of 10,000 hold 99 % at the first decision, 62 at the hundredth.
    policy = dataclasses.replace(POLICY, floor=0.99)
    found = power.of_all(evidence(Tally(10_000, 9_950), compared=False), policy, decision=decision)
    assert found is not None
    assert found.rules[0].critical == ((0, errors + 1),)
    # The candidate as measured errs on 0.5 %.
    expected = stats.binom.sf(errors, 10_000, 0.005 + 0.002)
    assert found.refusal(0.002) == pytest.approx(expected, rel=1e-9)
    for count, holds in ((errors, True), (errors + 1, False)):
        counted = evidence(Tally(10_000, 10_000 - count), compared=False)
        assert released(counted, policy, decision=decision) is holds


@pytest.mark.parametrize(
    ("tally", "policy"),
    [
        (Tally(1000, 980, lost=10, gained=10), POLICY),
        # Beside 3 gained ones all 9 others are lost with p = 0.073: none is refused.
        (Tally(12, 6, lost=3, gained=3), ANYTHING),
    ],
)
def test_the_comparison_refuses_from_where_the_gate_does(tally: Tally, policy: Policy) -> None:
    rows = tally.rows
    found = power.of_all(evidence(tally), policy)
    assert found is not None
    for gained, critical in found.rules[1].critical:
        for lost in {critical - 1, critical, rows - gained} & set(range(rows - gained + 1)):
            counted = Tally(rows, rows - lost, lost=lost, gained=gained)
            assert released(evidence(counted), policy) is (lost < critical)


@pytest.mark.parametrize("must_improve", [False, True])
def test_the_whole_gates_refusals_are_those_of_a_simulation(must_improve: bool) -> None:
    # 2,000 draws of 1,000 images: standard error 1.1 points. With one class and no floors worth
    # the name, the comparison decides alone.
    policy = dataclasses.replace(
        POLICY, floor=0.0, class_floor=0.0, max_drop=0.03, must_improve=must_improve
    )
    measured = evidence(Tally(1000, 950, lost=15, gained=15))
    found = power.of_all(measured, policy)
    assert found is not None
    rng = np.random.default_rng(20261124)
    for drop in (0.0, 0.01, 0.03):
        draws = rng.multinomial(1000, [0.015, 0.015 + drop, 0.97 - drop], size=2_000)
        refused = np.mean(
            [
                not passed(accuracy.paired_checks(Tally(1000, 1000 - down, down, up), policy, 1))
                for up, down, _ in draws.tolist()
            ]
        )
        assert found.refusal(drop) == pytest.approx(refused, abs=0.035)


def test_a_class_is_refused_from_where_the_gate_does_in_the_worst_company() -> None:
    # Four classes that are beyond doubt leave the fifth the factor 5.
    good, rows = Tally(100, 100), 100
    (found, *_) = power.of_groups(
        evidence(Tally(rows, 90, lost=5, gained=5), good, good, good, good), POLICY
    )
    _, upper = binom_test_reject_interval(0.2, rows, alpha=0.01, alternative="larger")
    assert found.rules[0].critical == ((0, upper),)  # 0.05 / 5
    for errors, holds in ((upper - 1, True), (upper, False)):
        counted = evidence(Tally(rows, rows - errors), good, good, good, good, compared=False)
        assert released(counted, dataclasses.replace(POLICY, floor=0.0)) is holds
    for gained, critical in found.rules[1].critical:
        for lost, holds in ((critical - 1, True), (critical, False)):
            counted = Tally(rows, rows - lost, lost=lost, gained=gained)
            # The others gain what this one loses, so that the whole does not decide.
            others = Tally(100, 100, gained=25)
            assert released(evidence(counted, *[others] * 4), ANYTHING) is holds


def test_slices_belong_to_the_family_where_they_are_judged() -> None:
    bands = Bands("mean_intensity", (0.5,))
    counted = dataclasses.replace(
        evidence(Tally(200, 190), compared=False),
        slices={"dark": Tally(150, 145), "bright": Tally(50, 45)},
    )
    policy = dataclasses.replace(POLICY, slices=(bands,), min_slice_rows=100)
    judged = power.of_groups(counted, policy)
    assert [found.label for found in judged] == ["class 0", "dark"]
    assert [len(found.rules) for found in judged] == [1, 1]  # nothing is compared


def test_drops_are_counted_from_the_served_model_or_else_from_the_candidate() -> None:
    tally = Tally(1000, 960, lost=20, gained=10)  # served: 970
    compared = power.of_all(evidence(tally), POLICY)
    first = power.of_all(evidence(Tally(1000, 960), compared=False), POLICY)
    assert compared is not None
    assert first is not None
    assert [rule.largest_drop for rule in first.rules] == [0.96]
    # Half of the 30 discordant images of 1,000 are gained and cannot be dropped.
    assert [rule.largest_drop for rule in compared.rules] == pytest.approx([0.97, 0.97 - 0.015])
    assert compared.rules[1].gained == 0.015


def test_no_more_is_gained_or_dropped_than_the_reference_gets_wrong_or_right() -> None:
    found = power.of_all(evidence(Tally(1000, 960, lost=40, gained=0)), POLICY)  # served: 1,000
    assert found is not None
    assert found.rules[1].gained == 0.0
    # Nor more dropped than it gets right: here nothing.
    found = power.of_all(evidence(Tally(10, 4, gained=4)), POLICY)
    assert found is not None
    assert found.rules[1].largest_drop == 0.0
    assert found.rules[1].refusal(0.3) == found.rules[1].refusal(0.0)


def test_the_rule_that_sees_most_counts() -> None:
    found = power.of_all(evidence(Tally(1000, 970, lost=10, gained=10)), POLICY)
    assert found is not None
    drops = [rule.minimum_detectable_drop(0.8) for rule in found.rules]
    assert found.minimum_detectable_drop(0.8) == min(drops)
    assert found.refusal(0.04) == max(rule.refusal(0.04) for rule in found.rules)
    assert found.refusal(5.0) == 1.0  # all that there is to lose


def test_of_three_images_the_comparison_refuses_nothing_and_the_floor_may() -> None:
    # All three lost have p = 1 / 8.
    policy = dataclasses.replace(POLICY, floor=0.1, max_drop=1.0)
    found = power.of_all(evidence(Tally(3, 3)), policy)
    assert found is not None
    assert {lost for _, lost in found.rules[1].critical} == {4}
    assert found.rules[1].minimum_detectable_drop(0.8) is None
    assert found.minimum_detectable_drop(0.8) == found.rules[0].minimum_detectable_drop(0.8) > 0
    without = power.of_all(evidence(Tally(3, 3)), dataclasses.replace(policy, floor=0.0))
    assert without is not None
    assert without.minimum_detectable_drop(0.8) is None


def test_labels_swapped_in_a_twentieth_of_a_small_class_are_seen_by_no_check() -> None:
    # 100 images of each of ten classes, as in the embedded sample: 5 more errors in one of them.
    classes = [Tally(100, 98, lost=1, gained=1)] * 10
    policy = dataclasses.replace(POLICY, floor=0.96, class_floor=0.88, max_drop=0.02)
    for found in power.of_groups(evidence(*classes), policy):
        assert found.refusal(0.05) < 0.2
    # 1,000 images of each: seen.
    classes = [Tally(1000, 980, lost=10, gained=10)] * 10
    for found in power.of_groups(evidence(*classes), policy):
        assert found.refusal(0.05) > 0.95


def test_of_no_examples_nothing_is_seen() -> None:
    nothing = evidence(Tally(0, 0), compared=False)
    assert power.of_all(nothing, POLICY) is None
    assert power.of_groups(nothing, POLICY) == []
