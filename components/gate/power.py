"""The drop in accuracy that the gate can detect: the power of its tests, exact from the counts.

Synopsis::

    whole = of_all(evidence, policy, decision=3)
    whole.refusal(0.01)                     # 0.97: probability of refusing a model a point worse
    whole.minimum_detectable_drop(0.8)      # 0.0062: four in five of such models are refused

The reference of a drop is the served model, or with nothing served the candidate as measured.
docs/gate.md ("Power") states what is assumed of the models.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterator

from components.gate import accuracy
from components.gate.check import passed
from components.gate.evidence import Evidence, Group, Tally, groups
from components.gate.policy import Policy
from components.gate.statistics import binomial_tail, likely, mcnemar, paired_pass

_PRECISION = 0.05  # of a drop, in examples


@dataclasses.dataclass(frozen=True)
class Rule:
    """Refuses from a number of lost examples on, which depends on the number of gained ones.

    A rule on the accuracy counts every error as lost, and nothing as gained.

    Attributes:
      lost: probability that a model as good as the reference loses an example, 0..1.
      gained: probability that such a model gains one, 0 to 0.5.
      critical: (gained examples, the smallest number of lost ones that is refused beside them), for
        every likely number of gained ones, rising; more than there are where none is refused.
    """

    rows: int
    lost: float
    gained: float
    largest_drop: float
    critical: tuple[tuple[int, int], ...]

    def refusal(self, drop: float) -> float:
        """The exact probability of refusing a model that is worse by `drop`.

        Miettinen 1968 (Biometrics 24, 339) and Connor 1987 (Biometrics 43, 207) approximate it.
        """
        import numpy as np

        counts, critical = np.array(self.critical).T
        lost = self.lost + min(drop, self.largest_drop)
        return 1.0 - paired_pass(counts, critical, self.rows, lost=lost, gained=self.gained)

    def minimum_detectable_drop(self, probability: float) -> float | None:
        """The smallest drop refused with that probability, up to 1/20 example too large.

        None if even the largest drop is refused less often.
        """
        steps = math.ceil(self.largest_drop * self.rows / _PRECISION)

        def drop(step: int) -> float:
            return min(step * _PRECISION / self.rows, self.largest_drop)

        step = bisect.bisect_left(
            range(steps + 1), True, key=lambda step: self.refusal(drop(step)) >= probability
        )
        return drop(step) if step <= steps else None


@dataclasses.dataclass(frozen=True)
class Power:
    """The power of the gate within a group of examples, whose name in messages is `label`."""

    label: str
    tally: Tally
    rules: tuple[Rule, ...]

    def refusal(self, drop: float) -> float:
        """The least probability of refusing a model that is worse by `drop`."""
        return max(rule.refusal(drop) for rule in self.rules)

    def minimum_detectable_drop(self, probability: float) -> float | None:
        drops = (rule.minimum_detectable_drop(probability) for rule in self.rules)
        return min((drop for drop in drops if drop is not None), default=None)


def of_all(evidence: Evidence, policy: Policy, *, decision: int = 1) -> Power | None:
    """The power of the floor and, with a served model, of both paired checks."""
    overall = evidence.overall

    def refuses_errors(errors: int) -> bool:
        tally = Tally(rows=overall.rows, correct=overall.rows - errors)
        return not accuracy.floor_check(tally, policy, decision).passed

    def refuses_lost(lost: int, gained: int) -> bool:
        tally = Tally(overall.rows, overall.rows - lost, lost=lost, gained=gained)
        return not passed(accuracy.paired_checks(tally, policy, decision))

    if not overall.rows:
        return None
    compared = refuses_lost if evidence.compared else None
    return _power("all test images", overall, refuses_errors, compared)


def of_groups(evidence: Evidence, policy: Policy) -> list[Power]:
    """The least power of the checks within each class and slice that is judged.

    Holm's method is taken at its full correction, the number of tests: a count that is refused then
    is refused whatever the other classes and slices show.
    """
    judged = [group for group in groups(evidence, policy) if group.judged]

    def refuses_lost(lost: int, gained: int) -> bool:
        return len(judged) * mcnemar(lost, gained) <= policy.alpha

    def of_group(group: Group) -> Power:
        def refuses_errors(errors: int) -> bool:
            p = binomial_tail(errors, group.tally.rows, policy.allowed_error)
            return len(judged) * p <= policy.alpha

        compared = refuses_lost if evidence.compared else None
        return _power(group.label, group.tally, refuses_errors, compared)

    return [of_group(group) for group in judged]


def _power(
    label: str,
    tally: Tally,
    refuses_errors: Callable[[int], bool],
    refuses_lost: Callable[[int, int], bool] | None,
) -> Power:
    """Searches the smallest refused counts; all larger counts are refused too."""
    rows = tally.rows
    reference = (tally.correct + tally.lost - tally.gained) / rows
    errors = bisect.bisect_left(range(rows + 1), True, key=refuses_errors)
    rules = [Rule(rows, 1.0 - reference, 0.0, reference, ((0, errors),))]
    if refuses_lost is not None:
        # No more can be gained than the reference gets wrong.
        half = min((tally.lost + tally.gained) / (2 * rows), 1.0 - reference)
        critical = tuple(_critical(rows, likely(rows, half), refuses_lost))
        rules.append(Rule(rows, half, half, max(0.0, reference - half), critical))
    return Power(label, tally, tuple(rules))


def _critical(
    rows: int, counts: range, refuses_lost: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """The smallest refused numbers of lost examples, which never fall as the gained ones grow."""
    lost = bisect.bisect_left(
        range(rows - counts[0] + 1), True, key=lambda lost: refuses_lost(lost, counts[0])
    )
    for gained in counts:
        while lost <= rows - gained and not refuses_lost(lost, gained):
            lost += 1
        yield gained, lost
