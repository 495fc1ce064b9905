"""The gate's statistics on counts alone, in plain Python: each test holds its level exactly.

    clopper_pearson_lower(9_917, 10_000, 0.95)          # 0.9900: so good at least, 95 % confidence
    mcnemar(lost=26, gained=14)                         # 0.0403: so likely, if equally good
    loss_upper(26, 14, 10_000, 0.95, max_drop=0.0028)   # 0.0023: so much accuracy is lost at most
    holm([0.001, 0.04, 0.03])                           # [0.003, 0.06, 0.06]

No bound and no p-value rests on an approximation: the score bound of the paired loss, the only one
that is approximate by itself, is corrected by its exact level (`loss_confidence`). Sources, per
function, are spelled out in docs/gate.md. SciPy has some of this; a part of it costs half a second
to import, where a gate's answer takes milliseconds.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

_BISECTIONS = 60  # of an interval of length 2: more digits than a float has
_NEGLIGIBLE = 1e-18  # of a sum: what it does not change
_DISCORDANCES = 48  # at which the level of the paired bound is computed
_RESERVE = 0.99  # of that level, for the discordances between them
_STEP = 0.98  # of the levels that are tried for it
_CERTAIN = 1.0 - 1e-13  # a confidence from which on floats tell levels from 0 no more


@functools.lru_cache(maxsize=4_096)
def clopper_pearson_lower(successes: int, trials: int, confidence: float) -> float:
    """Exact one-sided lower confidence bound of a proportion (Clopper and Pearson 1934).

    The largest probability under which so many successes, or more, are not more likely than
    1 - confidence. A proportion of exactly p has a bound above p with that probability at most.

    Args:
      successes: 0 to `trials`.
      trials: 0 or more; nothing is known of 0 trials, so the bound is 0.
      confidence: such as 0.95, above 0.5 and below 1.
    """
    if successes == 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if binomial_tail(successes, trials, middle) <= 1.0 - confidence:
            low = middle
        else:
            high = middle
    return low


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


def loss_upper(lost: int, gained: int, rows: int, confidence: float, *, max_drop: float) -> float:
    """One-sided upper confidence bound of the loss in accuracy, paired.

    Tango's bound, with so much more confidence than was asked for that models which lose exactly
    `max_drop` have a bound below it with a probability of 1 - confidence at most, and models that
    lose more with a smaller one.

    Args:
      lost: examples that only the old model gets right.
      gained: examples that only the new model gets right.
      rows: all examples; 0 gives 1, for nothing is known.
      confidence: such as 0.95, above 0.5; with 1 the bound is 1, since nothing is certain.
      max_drop: the loss that the bound is held against, 0..1.

    Returns:
      -1 to 1; the point estimate is (lost - gained) / rows.
    """
    return tango_upper(lost, gained, rows, loss_confidence(rows, max_drop, confidence))


@functools.lru_cache(maxsize=65_536)
def tango_upper(lost: int, gained: int, rows: int, confidence: float) -> float:
    """One-sided upper confidence bound of the loss in accuracy, paired (Tango 1998).

    The score bound: the largest loss that a test with the variance under that very loss does not
    reject. Unlike Wald's bound it is above zero also where the models never differ. Its confidence
    is approximate. Arguments and result are those of `loss_upper`.
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
def loss_confidence(rows: int, loss: float, confidence: float) -> float:
    """The confidence to ask of `tango_upper`, so that it errs no more often than was asked for.

    An exact unconditional test, ordered by Tango's score: of all discordances that two models can
    have, the one under which the test errs most often decides (Hsueh, Liu and Chen 2001; Sidik
    2003).

    Args:
      rows: all examples.
      loss: the true loss, 0..1, that the bound shall not lie below.
      confidence: such as 0.95, above 0.5 and below 1.
    """
    alpha = 1.0 - confidence
    if not rows or loss >= 1.0 or confidence >= _CERTAIN:  # no model loses more than all
        return confidence
    # One scale for every level, so that a smaller one never asks for less confidence.
    first, further = math.ceil(math.log(alpha) / math.log(_STEP)), 0

    def holds(extra: int) -> bool:
        return loss_level(rows, loss, 1.0 - _STEP ** (first + extra)) <= _RESERVE * alpha

    while not holds(further):
        further = 2 * further + 1
    return 1.0 - _STEP ** (first + bisect.bisect_left(range(further), True, key=holds))


@functools.lru_cache(maxsize=4_096)
def loss_level(rows: int, loss: float, confidence: float) -> float:
    """How often `tango_upper` lies at or below a true loss, at the worst of 48 discordances.

    Args:
      rows: all examples, 1 or more.
      loss: the true one, 0..1.
      confidence: that the bound is asked for.
    """
    z = NormalDist().inv_cdf(confidence)
    most = (1.0 - loss) / 2  # of the examples can be gained, when each is either lost or gained
    step = (20.0 * rows * most) ** (1.0 / (_DISCORDANCES - 2))
    shares = [0.0, *(most / step**power for power in range(_DISCORDANCES - 1))]
    refused = list(_refused_lost(rows, loss, z, likely(rows, most)[-1]))
    levels = []
    for gained in shares:
        counts = likely(rows, gained)
        critical = [(count, refused[count]) for count in counts]
        levels.append(paired_pass(critical, rows, lost=gained + loss, gained=gained))
    return max(levels)


def _refused_lost(rows: int, loss: float, z: float, most_gained: int) -> Iterator[int]:
    """The smallest number of lost examples whose bound lies above `loss`, beside 0, 1, ... gained.

    It never falls with the number of gained ones.
    """
    lost = 0
    for gained in range(most_gained + 1):
        while lost <= rows - gained and _tango_score(lost, gained, rows, loss) <= -z:
            lost += 1
        yield lost


def likely(trials: int, probability: float) -> range:
    """The numbers of successes beyond which there is less than one chance in a billion."""
    mean = trials * probability
    spread = 7.0 * math.sqrt(mean * (1.0 - probability)) + 10.0
    return range(max(0, math.floor(mean - spread)), min(trials, math.ceil(mean + spread)) + 1)


def paired_pass(
    critical: Sequence[tuple[int, int]], rows: int, *, lost: float, gained: float
) -> float:
    """Probability that fewer examples are lost than is critical beside the gained ones.

    That given the number of gained examples, averaged over that number: exact, as Duffy 1984
    (Biometrics 40, 1005) has it for the power of McNemar's test.

    Args:
      critical: (gained examples, lost ones), for every likely number of gained ones; neither falls.
      rows: all examples.
      lost: probability that an example is lost, 0..1.
      gained: probability that an example is gained, below 1.
    """
    shares = (binomial(count, rows, gained) for count, _ in critical)
    tails = _tails(critical, rows, min(1.0, lost / (1.0 - gained)))
    return math.fsum(share * (1.0 - tail) for share, tail in zip(shares, tails, strict=True))


def _tails(critical: Sequence[tuple[int, int]], rows: int, lost: float) -> Iterator[float]:
    """P(X_n >= critical) for X_n ~ Binomial(n, lost) with n = rows - gained examples, for each.

    From one to the next by a term or two: P(X_n-1 >= c) = P(X_n >= c) - lost P(X_n-1 = c - 1) and
    P(X >= c + 1) = P(X >= c) - P(X = c).
    """
    gained, at_least = critical[0]
    n = rows - gained
    tail = binomial_tail(at_least, n, lost)
    for gained, needed in critical:
        if n > rows - gained:
            n -= 1
            tail -= lost * binomial(at_least - 1, n, lost)
        for count in range(at_least, min(needed, n + 1)):
            tail -= binomial(count, n, lost)
        at_least = needed
        yield max(0.0, tail)


def _tango_score(lost: int, gained: int, rows: int, loss: float) -> float:
    """Standardized distance of the counts from a true loss; falls as that grows."""
    a = 2 * rows
    b = -lost - gained + (2 * rows - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    # Probability of "gained" that is most likely under that loss.
    gain = max(0.0, (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a))
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
