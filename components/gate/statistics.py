"""The gate's statistics, from counts alone: each test holds its level exactly.

    clopper_pearson_lower(9_917, 10_000, 0.95)          # 0.9900: lower bound of the accuracy
    mcnemar(lost=26, gained=14)                         # 0.0403: p-value of "worse"
    drop_upper(26, 14, 10_000, 0.95, max_drop=0.0028)   # 0.0023: upper bound of the lost accuracy
    holm([0.001, 0.04, 0.03])                           # [0.003, 0.06, 0.06]

Only the old model predicts lost examples right, and only the new one gained ones. docs/gate.md
gives reasons and sources. NumPy and SciPy, which take half a second, are imported late: commands
that only list the checks start at once.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BISECTIONS = 60  # of an interval of length 2: more digits than a float has
_NEWTON_STEPS = 20
_DISCORDANCES = 48  # at which the level of the paired bound is computed
_RESERVE = 0.99  # of the level that may be spent there: the rest is for discordances between them
_STEP = 0.98  # from each level that `drop_confidence` tries to the next
_CERTAIN = 1.0 - 1e-13  # from this confidence on, floats cannot tell 1 - confidence from 0


@functools.lru_cache(maxsize=4_096)
def clopper_pearson_lower(successes: int, trials: int, confidence: float) -> float:
    """The exact lower confidence bound of a proportion (Clopper and Pearson 1934); 0 for 0 trials.

    It is the largest proportion for which this many successes or more have a probability of at most
    1 - confidence.
    """
    from scipy import special

    if successes == 0:
        return 0.0
    return float(special.betaincinv(successes, trials - successes + 1, 1.0 - confidence))


def proportion_interval(successes: int, trials: int) -> tuple[float, float]:
    """The exact two-sided 95 % interval of a proportion, of 1 trial or more."""
    low = clopper_pearson_lower(successes, trials, 0.975)
    return low, 1.0 - clopper_pearson_lower(trials - successes, trials, 0.975)


@functools.lru_cache(maxsize=65_536)
def binomial_tail(at_least: int, trials: int, probability: float) -> float:
    """P(X >= at_least) for X ~ Binomial(trials, probability).

    SciPy's `bdtrc` computes the same, but is wrong by up to 0.002 of ten million trials.
    """
    from scipy import special

    if at_least <= 0:
        return 1.0
    if at_least > trials:
        return 0.0
    return float(special.betainc(at_least, trials - at_least + 1, probability))


def mcnemar(lost: int, gained: int) -> float:
    """The p-value of the exact one-sided McNemar test; 1 if the models never differ.

    McNemar 1947; Dietterich 1998 recommends it for two classifiers on one test set.
    """
    return binomial_tail(lost, lost + gained, 0.5)


def drop_upper(lost: int, gained: int, rows: int, confidence: float, *, max_drop: float) -> float:
    """The one-sided upper confidence bound of the drop in accuracy, paired: -1 to 1.

    For a model that loses `max_drop` (0..1) or more, the bound is at most `max_drop` with a
    probability of at most 1 - confidence. With 0 rows, or a confidence of 1, the bound is 1. The
    confidence is above 0.5.
    """
    return tango_upper(lost, gained, rows, drop_confidence(rows, max_drop, confidence))


@functools.lru_cache(maxsize=65_536)
def tango_upper(lost: int, gained: int, rows: int, confidence: float) -> float:
    """The one-sided upper score bound of the drop in accuracy, paired (Tango 1998); approximate.

    It is the largest drop that a score test, with the variance under that drop, does not reject.
    """
    if rows == 0 or confidence >= _CERTAIN:
        return 1.0
    z = NormalDist().inv_cdf(confidence)
    low, high = (lost - gained) / rows, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _tango_score(lost, gained, rows, middle) > -z:
            low = middle
        else:
            high = middle
    return high


@functools.lru_cache(maxsize=4_096)
def drop_confidence(rows: int, drop: float, confidence: float) -> float:
    """The confidence at which `tango_upper` errs with a probability of at most 1 - `confidence`.

    The bound errs if it lies at or below the true `drop`, 0..1. With this confidence it is an exact
    unconditional test under every discordance (Hsueh, Liu and Chen 2001; Sidik 2003). Where no
    confidence is high enough, as for a drop of nearly 1, it is so near to 1 that the bound is 1.
    """
    alpha = 1.0 - confidence
    if drop >= 1.0 or confidence >= _CERTAIN:  # no model loses more than all
        return confidence
    # One scale for every level, so that a smaller one never asks for less confidence.
    first, further = math.ceil(math.log(alpha) / math.log(_STEP)), 0

    def holds(extra: int) -> bool:
        return drop_level(rows, drop, 1.0 - _STEP ** (first + extra)) <= _RESERVE * alpha

    while not holds(further):
        further = 2 * further + 1
    return 1.0 - _STEP ** (first + bisect.bisect_left(range(further), True, key=holds))


@functools.lru_cache(maxsize=4_096)
def drop_level(rows: int, drop: float, confidence: float) -> float:
    """The largest probability, of 48 discordances, that `tango_upper` is at most the true drop."""
    import numpy as np

    if confidence >= _CERTAIN:  # the bound is 1
        return 0.0
    most = (1.0 - drop) / 2  # can be gained: then each example is either lost or gained
    levels = []
    for gained in _shares(rows, most):
        counts = np.array(likely(rows, gained))
        refused = _refused_lost(counts, rows, drop, NormalDist().inv_cdf(confidence))
        levels.append(paired_pass(counts, refused, rows, lost=gained + drop, gained=gained))
    return max(levels)


def _shares(rows: int, most: float) -> Iterator[float]:
    """Yields shares of gained examples, 0 to `most`, close to each other towards both ends.

    The level changes fastest where few examples are gained, and where few are neither gained nor
    lost. From each end the first step is 1/20 example, or 1/20 of `most` if that is less.
    """
    steps = _DISCORDANCES // 2
    ratio = (20.0 * max(1.0, rows * most)) ** (-1.0 / (steps - 1))
    for power in range(steps):
        share = most * ratio**power
        yield share
        yield most - share


def _refused_lost(
    gained: npt.NDArray[np.int64], rows: int, drop: float, z: float
) -> npt.NDArray[np.int64]:
    """The fewest lost examples beside the gained ones, [C] each, with a bound above `drop`.

    Where that is 0 or less, the bound is above it whatever is lost.
    Where the score is -z, its standard error s solves s^3 + w s^2 - (2 gained + v) s = v w, with
    v = rows drop (1 - drop) and w = z (1 + drop): put s into the equation of the most likely
    probability of "gained". Newton's method comes down to the only positive root.
    """
    import numpy as np

    v, w = rows * drop * (1.0 - drop), z * (1.0 + drop)
    error = np.sqrt(2.0 * gained + v) + 1e-6  # not below the root
    for _ in range(_NEWTON_STEPS):
        value = error * (error * (error + w) - 2.0 * gained - v) - v * w
        error -= value / (error * (3.0 * error + 2.0 * w) - 2.0 * gained - v)
    return np.floor(gained + rows * drop - z * error).astype(np.int64) + 1


def _tango_score(lost: int, gained: int, rows: int, drop: float) -> float:
    """The standardized distance of the counts from a true drop, which falls as the drop grows."""
    a = 2 * rows
    b = -lost - gained + (2 * rows - lost + gained) * drop
    c = -gained * drop * (1 - drop)
    # The most likely probability of "gained" under that drop.
    gain = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = rows * (2 * gain + drop * (1 - drop))
    distance = lost - gained - rows * drop
    return distance / math.sqrt(variance) if variance > 0.0 else 0.0  # all are lost, drop is 1


def likely(trials: int, probability: float) -> range:
    """The numbers of successes outside which less than one chance in a billion lies."""
    mean = trials * probability
    spread = 7.0 * math.sqrt(mean * (1.0 - probability)) + 10.0
    return range(max(0, math.floor(mean - spread)), min(trials, math.ceil(mean + spread)) + 1)


def paired_pass(
    counts: npt.NDArray[np.int64],
    critical: npt.NDArray[np.int64],
    rows: int,
    *,
    lost: float,
    gained: float,
) -> float:
    """The probability that fewer examples are lost than is critical beside the gained ones.

    It is averaged over the number of gained examples: exact, as Duffy 1984 (Biometrics 40, 1005)
    computes the power of McNemar's test.

    Args:
      counts: [C], the likely numbers of gained examples.
      critical: [C], for each of them a number of lost examples.
      lost: probability that an example is lost, 0..1; `gained` alike, below 1.
    """
    import numpy as np
    from scipy import special

    shares = np.exp(
        special.gammaln(rows + 1)
        - special.gammaln(counts + 1)
        - special.gammaln(rows - counts + 1)
        + special.xlogy(counts, gained)
        + special.xlog1py(rows - counts, -gained)
    )
    others = rows - counts
    of_others = min(1.0, lost / (1.0 - gained))
    # As in `binomial_tail`.
    inner = special.betainc(
        np.maximum(critical, 1), np.maximum(others - critical, 0) + 1, of_others
    )
    tails = np.where(critical > others, 0.0, np.where(critical > 0, inner, 1.0))
    return float(shares @ (1.0 - tails))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for their number (Holm 1979), in the given order.

    Rejecting those at or below alpha errs anywhere among them with a probability of at most alpha,
    however they depend on each other.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
