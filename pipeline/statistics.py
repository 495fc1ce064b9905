"""The gate's statistics: exact where that is possible, in plain Python, on counts alone.

    wilson_lower(9_917, 10_000, 0.95)         # 0.9901: so good at least, with 95 % confidence
    mcnemar(lost=26, gained=14)               # 0.0403: so likely, if the candidate were as good
    loss_upper(26, 14, 10_000, 0.95)          # 0.0023: so much accuracy is lost at most
    holm([0.001, 0.04, 0.03])                 # [0.003, 0.06, 0.06]

Sources, per function, are spelled out in docs/gate.md. SciPy has all but `loss_upper` and `holm`;
a part of it costs half a second to import, where a gate's answer takes a millisecond.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

_BISECTIONS = 60  # of an interval of length 2: more digits than a float has
_NEGLIGIBLE = 1e-18  # of a sum: what it does not change


def wilson_lower(successes: int, trials: int, confidence: float) -> float:
    """One-sided lower confidence bound of a proportion (Wilson 1927, eq. 4).

    Args:
      successes: 0 to `trials`.
      trials: 0 or more; nothing is known of 0 trials, so the bound is 0.
      confidence: such as 0.95, above 0.5 and below 1.
    """
    if trials == 0:
        return 0.0
    z = NormalDist().inv_cdf(confidence)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half_width = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - half_width) / (1 + z * z / trials))


@functools.lru_cache(maxsize=65_536)
def binomial_tail(at_least: int, trials: int, probability: float) -> float:
    """P(X >= at_least) for X ~ Binomial(trials, probability), summed term by term."""
    if at_least <= 0:
        return 1.0
    if at_least > trials or probability <= 0.0:
        return 0.0
    if probability >= 1.0:
        return 1.0
    # The tail that does not hold the mean; its complement loses no digits that matter.
    if at_least <= trials * probability:
        return 1.0 - _upper_tail(trials - at_least + 1, trials, 1.0 - probability)
    return _upper_tail(at_least, trials, probability)


def _upper_tail(at_least: int, trials: int, probability: float) -> float:
    """As `binomial_tail`, above the mean: each term is smaller than the one before."""
    term = total = binomial(at_least, trials, probability)
    odds = probability / (1.0 - probability)
    for k in range(at_least, trials):
        term *= odds * (trials - k) / (k + 1)
        if term <= total * _NEGLIGIBLE:
            break
        total += term
    return min(1.0, total)


def binomial(successes: int, trials: int, probability: float) -> float:
    """P(X = successes) for X ~ Binomial(trials, probability)."""
    if not 0 <= successes <= trials:
        return 0.0
    if not 0.0 < probability < 1.0:
        return float(successes == trials * probability)
    return math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )


def mcnemar(lost: int, gained: int) -> float:
    """p-value of the exact one-sided McNemar test (McNemar 1947; Dietterich 1998).

    Of two models on the same examples, those that both get right or both get wrong say nothing.
    Of the others, as many are lost as gained by chance if the models are equally good.

    Args:
      lost: examples that only the old model gets right.
      gained: examples that only the new model gets right.

    Returns:
      Probability of so many lost ones or more; 1 where the models never differ.
    """
    return binomial_tail(lost, lost + gained, 0.5)


@functools.lru_cache(maxsize=65_536)
def loss_upper(lost: int, gained: int, rows: int, confidence: float) -> float:
    """One-sided upper confidence bound of the loss in accuracy, paired (Tango 1998).

    The score bound: the largest loss that a test with the variance under that very loss does not
    reject. Unlike Wald's bound it is above zero also where the models never differ.

    Args:
      lost: examples that only the old model gets right.
      gained: examples that only the new model gets right.
      rows: all examples; 0 gives 1, for nothing is known.
      confidence: such as 0.95, above 0.5 and below 1.

    Returns:
      -1 to 1; the point estimate is (lost - gained) / rows.
    """
    if rows == 0:
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


def _tango_score(lost: int, gained: int, rows: int, loss: float) -> float:
    """Standardized distance of the counts from a true loss; falls as that grows."""
    a = 2 * rows
    b = -lost - gained + (2 * rows - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    # Probability of "gained" that is most likely under that loss.
    gain = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = rows * (2 * gain + loss * (1 - loss))
    distance = lost - gained - rows * loss
    if variance <= 0.0:
        return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979), in the given order.

    Rejecting those at or below alpha errs anywhere among them with probability alpha at most,
    however they depend on each other.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
