"""How often any of many decisions on one test set releases a bad model, by simulation.

Synopsis::

    for kind in SUBMITTERS:
        outcome = submit(kind, policy, rows=10_000, decisions=100, simulations=20_000, seed=0)
        outcome.share                   # 0.037 of the independent ones, 1.0 of who sees accuracies

Every model that is put before the gate has a true accuracy of exactly the floor, which is where a
bad model has the best chance, and nothing is served. Of the test images some are doubtful: there
the models guess between two answers, so that no choice among the guesses makes them better on new
images. They get everything else right (with a floor below one half: wrong). What the submitter
learns from decisions can therefore only fit this test set, and each release is an error of the
gate.
"""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np
import numpy.typing as npt

from components.gate import statistics
from components.gate.decide import floor_check
from components.gate.evidence import Tally
from components.gate.policy import Policy

INDEPENDENT = "independent models"
PASS_OR_FAIL = "sees pass or fail"
ACCURACY = "sees the accuracy"
SUBMITTERS = (INDEPENDENT, PASS_OR_FAIL, ACCURACY)

_TAIL = 0.975  # each end of a two-sided 95 % interval

_Counts = npt.NDArray[np.int64]  # [simulations]


@dataclasses.dataclass(frozen=True)
class Series:
    """What came of one kind of submitter.

    Attributes:
      submitter: one of `SUBMITTERS`.
      simulations: test sets, each with a series of decisions.
      erred: those on which any decision released a bad model.
    """

    submitter: str
    simulations: int
    erred: int

    @property
    def share(self) -> float:
        """Estimated probability that any decision releases a bad model, 0..1."""
        return self.erred / self.simulations

    @property
    def interval(self) -> tuple[float, float]:
        """Where that probability lies with 95 % confidence, exactly."""
        sound = self.simulations - self.erred
        return (
            statistics.clopper_pearson_lower(self.erred, self.simulations, _TAIL),
            1.0 - statistics.clopper_pearson_lower(sound, self.simulations, _TAIL),
        )


def submit(
    submitter: str, policy: Policy, *, rows: int, decisions: int, simulations: int, seed: int
) -> Series:
    """Puts series of bad models before the floor's check.

    Args:
      submitter: one of `SUBMITTERS`. `INDEPENDENT`: other images are doubtful in each model.
        `PASS_OR_FAIL`: the same ones are, and since a refusal tells nothing of single images, the
        submitter guesses all of them anew, until a model is released. `ACCURACY`: the submitter
        turns a few of his guesses at a time, and keeps what raises the accuracy.
      policy: the gate's.
      rows: test images.
      decisions: on each test set.
      simulations: test sets that are drawn.
      seed: of the draws.
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
    """Of each test set, the images on which a model guesses between two answers, or is wrong."""
    shares = (2.0 * min(accuracy, 1.0 - accuracy), max(0.0, 1.0 - 2.0 * accuracy))
    doubtful, hopeless, _ = rng.multinomial(rows, [*shares, 1.0 - sum(shares)], simulations).T
    return doubtful, hopeless


def allowed_errors(policy: Policy, rows: int, decision: int) -> int:
    """The most errors with which the k-th decision finds that the floor is held; -1 for none."""

    def refused(errors: int) -> bool:
        return not floor_check(Tally(rows, rows - errors), policy, decision).passed

    return bisect.bisect_left(range(rows + 1), True, key=refused) - 1
