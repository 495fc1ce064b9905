"""How often any of many decisions on one test set releases a bad model, by simulation.

Synopsis::

    for submitter in SUBMITTERS:
        series = submit(submitter, policy, rows=10_000, decisions=100, simulations=20_000, seed=0)
        series.share                    # 0.037: independent models; 1.0: sees the accuracy

Every model has a true accuracy of exactly the floor, where bad models are released most often. On
doubtful images it guesses between two classes, so that no choice among guesses makes it better on
new images; all others it gets right (with a floor below one half: wrong).
"""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np
import numpy.typing as npt

from components.gate.accuracy import floor_check
from components.gate.evidence import Tally
from components.gate.policy import Policy
from components.gate.statistics import proportion_interval

INDEPENDENT = "independent models"
PASS_OR_FAIL = "sees pass or fail"
ACCURACY = "sees the accuracy"
SUBMITTERS = (INDEPENDENT, PASS_OR_FAIL, ACCURACY)

_Counts = npt.NDArray[np.int64]  # [simulations]


@dataclasses.dataclass(frozen=True)
class Series:
    """Series of decisions by one of `SUBMITTERS`, on `simulations` test sets.

    On `erred` of these test sets, any decision released a bad model.
    """

    submitter: str
    simulations: int
    erred: int

    @property
    def share(self) -> float:
        return self.erred / self.simulations

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % confidence interval of the probability that any decision errs."""
        return proportion_interval(self.erred, self.simulations)


def submit(
    submitter: str, policy: Policy, *, rows: int, decisions: int, simulations: int, seed: int
) -> Series:
    """Puts series of bad models before the floor's check, one on each of `simulations` test sets.

    Args:
      submitter: `INDEPENDENT`: each model doubts other images. `PASS_OR_FAIL`: all doubt the same
        ones, and the submitter guesses them anew until a model is released, since a refusal tells
        nothing of single images. `ACCURACY`: the submitter changes a few guesses at a time, and
        keeps the changes that raise the accuracy.
    """
    rng = np.random.default_rng(seed)
    allowed = [allowed_errors(policy, rows, decision) for decision in range(1, decisions + 1)]
    doubtful, hopeless = _images(policy.floor, rows, simulations, rng)
    wrong = rng.binomial(doubtful, 0.5)
    unturned, unturned_wrong = doubtful, wrong
    erred = wrong + hopeless <= allowed[0]
    for most in allowed[1:]:
        if submitter == INDEPENDENT:
            doubtful, hopeless = _images(policy.floor, rows, simulations, rng)
        if submitter == ACCURACY:
            turned = np.minimum(unturned, -(-doubtful // decisions))
            righted = rng.hypergeometric(unturned_wrong, unturned - unturned_wrong, turned)
            wrong = np.minimum(wrong, wrong + turned - 2 * righted)
            unturned, unturned_wrong = unturned - turned, unturned_wrong - righted
        else:
            wrong = rng.binomial(doubtful, 0.5)
        erred |= wrong + hopeless <= most
    return Series(submitter, simulations, int(erred.sum()))


def _images(
    accuracy: float, rows: int, simulations: int, rng: np.random.Generator
) -> tuple[_Counts, _Counts]:
    """Draws the number of images on which a model guesses, and of those it gets wrong for sure."""
    shares = (2.0 * min(accuracy, 1.0 - accuracy), max(0.0, 1.0 - 2.0 * accuracy))
    doubtful, hopeless, _ = rng.multinomial(rows, [*shares, 1.0 - sum(shares)], simulations).T
    return doubtful, hopeless


def allowed_errors(policy: Policy, rows: int, decision: int) -> int:
    """The largest number of errors that the k-th decision allows, or -1."""

    def refused(errors: int) -> bool:
        return not floor_check(Tally(rows, rows - errors), policy, decision).passed

    return bisect.bisect_left(range(rows + 1), True, key=refused) - 1
