"""Drift of the mean intensities against the last release, beside SciPy's test."""

import numpy as np
import pytest
from scipy import special, stats

from components.data_gate.drift_checks import intensity_check
from components.monitoring.summary import INTENSITY_BINS


def binned(values: np.ndarray, bins: int = INTENSITY_BINS) -> tuple[int, ...]:
    counts, _ = np.histogram(values, bins, range=(0.0, 1.0))
    return tuple(counts.tolist())


def drawn(rows: int, seed: int, *, mean: float = 0.13) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.04, rows), 0.0, 1.0)


def test_it_is_scipys_test_on_the_bins():
    now, then = drawn(400, seed=1, mean=0.133), drawn(5000, seed=2)
    found = intensity_check(binned(now), binned(then), bound=0.01)
    places = [np.repeat(np.arange(INTENSITY_BINS), binned(values)) for values in (now, then)]
    expected = stats.ks_2samp(*places, method="asymp")
    assert found.actual == pytest.approx(expected.statistic)
    chance = special.kolmogorov(expected.statistic * np.sqrt(400 * 5000 / 5400))
    assert f"(p {chance:.2g})" in found.sentence
    assert chance == pytest.approx(expected.pvalue, rel=0.3)


def test_brighter_images_are_refused_and_equally_bright_ones_pass():
    then = binned(drawn(55_000, seed=1))
    assert intensity_check(binned(drawn(55_000, seed=2)), then, bound=0.1).passed
    refused = intensity_check(binned(drawn(55_000, seed=2, mean=0.15)), then, bound=0.1)
    assert not refused.passed
    assert "set data_gate.max_intensity_drift" in refused.sentence
    assert intensity_check(binned(drawn(55_000, seed=2, mean=0.132)), then, bound=0.1).passed


def test_a_release_that_recorded_64_bins_is_compared_in_those_that_both_have():
    now, then = drawn(5000, seed=1, mean=0.15), drawn(5000, seed=2)
    found = intensity_check(binned(now), binned(then, 64), bound=0.1)
    assert found.actual == intensity_check(binned(now, 8), binned(then, 8), bound=0.1).actual
    assert not found.passed


def test_of_few_images_a_distance_that_chance_explains_is_no_drift():
    then = binned(drawn(55_000, seed=1))
    alarms = [
        not intensity_check(binned(drawn(20, seed=seed)), then, bound=0.1).passed
        for seed in range(1000)
    ]
    assert sum(alarms) <= 5  # one in 1,000 is expected at most


@pytest.mark.parametrize(
    ("released", "why"), [(None, "nothing released yet"), ((), "did not record it")]
)
def test_without_a_record_it_says_that_it_is_skipped(released, why):
    found = intensity_check(binned(drawn(100, seed=1)), released, bound=0.1)
    assert (found.passed, found.actual) == (True, None)
    assert why in found.sentence
