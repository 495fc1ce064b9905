"""The two-sample test of Kolmogorov and Smirnov, on counts in bins.

Between bins no difference is seen, so its p-value is at least that of the test on the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def kolmogorov(before: Sequence[int], now: Sequence[int]) -> tuple[float, float]:
    """Compares counts in the same bins, [N] each, at least one in both.

    Returns the largest distance of the two distribution functions, 0..1, and the asymptotic
    p-value.
    """
    from scipy import special

    counts = np.array([before, now], float)  # [2, N]
    rows = counts.sum(axis=1)
    cumulated = (counts / rows[:, np.newaxis]).cumsum(axis=1)
    distance = float(np.abs(cumulated[0] - cumulated[1]).max())
    effective = rows.prod() / rows.sum()
    return distance, float(special.kolmogorov(math.sqrt(effective) * distance))
