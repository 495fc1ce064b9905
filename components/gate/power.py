"""The drop in accuracy that the gate can detect: the power of its tests, exact from the counts.

Synopsis::

    whole = of_all(evidence, policy, decision=3)
    whole.refusal(0.01)                     # 0.97: probability of refusing a model a point worse
    whole.minimum_detectable_drop(0.8)      # 0.0062: four in five of such models are refused
    for group in of_groups(evidence, policy):
        group.minimum_detectable_drop(0.8)  # within a class or slice; None: none is seen

Drops are counted from the reference: the served model, or with nothing served the candidate itself,
as measured. The discordance is the fraction of the examples on which exactly one of two models is
right. A model that is as good as the reference gains and loses half of it each; a model that is
worse by x loses x more and gains no more.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from components.gate import decide
from components.gate.check import passed
from components.gate.evidence import Evidence, Group, Tally, groups
from components.gate.policy import Policy
from components.gate.statistics import binomial_tail, likely, mcnemar, paired_pass

_PRECISION = 0.05  # of a drop, in examples


@dataclasses.dataclass(frozen=True)
class ErrorRule:
    """Refuses from `critical` errors on, more than `rows` where it never does.

    Attributes:
      rows: examples.
      accuracy: the reference's, 0..1.
      critical: the smallest number of errors that is refused.
    """

    rows: int
    accuracy: float
    critical: int

    @property
    def largest_drop(self) -> float:
        return self.accuracy

    def refusal(self, drop: float) -> float:
        """Probability of refusing a model that is worse by `drop`."""
        return binomial_tail(self.critical, self.rows, min(1.0, 1.0 - self.accuracy + drop))


@dataclasses.dataclass(frozen=True)
class PairedRule:
    """Refuses from a number of lost examples on that depends on the number of gained ones.

    Attributes:
      rows: examples.
      accuracy: the reference's, 0..1.
      gained: probability that an example is gained, 0 to 0.5 and to 1 - accuracy.
      critical: (gained examples, the smallest number of lost ones that is refused beside them), for
        every likely number of gained ones, rising; more than `rows` where none is refused.
    """

    rows: int
    accuracy: float
    gained: float
    critical: tuple[tuple[int, int], ...]

    @property
    def largest_drop(self) -> float:
        return max(0.0, self.accuracy - self.gained)

    def refusal(self, drop: float) -> float:
        """Probability of refusing a model that is worse by `drop`; exact.

        Miettinen 1968 (Biometrics 24, 339) and Connor 1987 (Biometrics 43, 207) approximate it.
        """
        counts, critical = np.array(self.critical).T
        return 1.0 - paired_pass(
            counts, critical, self.rows, lost=self.gained + drop, gained=self.gained
        )


Rule = ErrorRule | PairedRule


def minimum_detectable_drop(rule: Rule, probability: float) -> float | None:
    """The smallest drop that the rule refuses with that probability.

    Args:
      rule: whose refusals become more likely as the drop grows.
      probability: such as 0.8.

    Returns:
      0 to 1, at most a twentieth of an example too large; None where even the largest drop is
      refused less often.
    """
    low, high = 0.0, rule.largest_drop
    if rule.refusal(high) < probability:
        return None
    if rule.refusal(low) >= probability:
        return low
    while high - low > _PRECISION / rule.rows:
        middle = (low + high) / 2
        if rule.refusal(middle) < probability:
            low = middle
        else:
            high = middle
    return high


@dataclasses.dataclass(frozen=True)
class Power:
    """Which drops within a group of examples the gate refuses, and how often.

    Attributes:
      label: the words for the group.
      tally: its counts.
      floor: the check against an accuracy.
      comparison: the checks against the served model; None with nothing served.
    """

    label: str
    tally: Tally
    floor: ErrorRule
    comparison: PairedRule | None

    @property
    def rules(self) -> tuple[Rule, ...]:
        return (self.floor,) if self.comparison is None else (self.floor, self.comparison)

    def refusal(self, drop: float) -> float:
        """Probability of refusing a model that is worse by `drop`, at least: the larger rule's."""
        return max(rule.refusal(min(drop, rule.largest_drop)) for rule in self.rules)

    def minimum_detectable_drop(self, probability: float) -> float | None:
        """The smallest drop that is refused with at least that probability; None for none."""
        drops = (minimum_detectable_drop(rule, probability) for rule in self.rules)
        return min((drop for drop in drops if drop is not None), default=None)


def of_all(evidence: Evidence, policy: Policy, *, decision: int = 1) -> Power | None:
    """The power of the checks over all examples; None without examples.

    These are the floor and, against a served model, both paired checks. The cross-entropy does not
    follow from counts.

    Args:
      evidence: counts on the test split.
      policy: whose checks they are.
      decision: as for `gate.decide`.
    """
    overall = evidence.overall

    def refuses_errors(errors: int) -> bool:
        tally = Tally(rows=overall.rows, correct=overall.rows - errors)
        return not decide.floor_check(tally, policy, decision).passed

    def refuses_lost(lost: int, gained: int) -> bool:
        tally = Tally(overall.rows, overall.rows - lost, lost=lost, gained=gained)
        return not passed(decide.paired_checks(tally, policy, decision))

    if not overall.rows:
        return None
    compared = refuses_lost if evidence.compared else None
    return _power("all test images", overall, refuses_errors, compared)


def of_groups(evidence: Evidence, policy: Policy) -> list[Power]:
    """The power of the checks within each class and slice that is judged, at least.

    Holm's method multiplies a p-value by the number of tests at most, and by less where other
    p-values are smaller. Here each is multiplied by that number: what is refused then is refused
    whatever the other classes and slices show.

    Args:
      evidence: counts on the test split.
      policy: whose checks they are.
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
    """Searches the smallest counts that are refused; all larger ones are refused too."""
    rows = tally.rows
    accuracy = (tally.correct + tally.lost - tally.gained) / rows
    errors = bisect.bisect_left(range(rows + 1), True, key=refuses_errors)
    comparison = None
    if refuses_lost is not None:
        # No more can be gained than the reference gets wrong.
        gained = min((tally.lost + tally.gained) / (2 * rows), 1.0 - accuracy)
        critical = tuple(_critical(rows, likely(rows, gained), refuses_lost))
        comparison = PairedRule(rows, accuracy, gained, critical)
    return Power(label, tally, ErrorRule(rows, accuracy, errors), comparison)


def _critical(
    rows: int, counts: range, refuses_lost: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """The smallest refused number of lost examples, which never falls with that of gained ones."""
    lost = bisect.bisect_left(
        range(rows - counts[0] + 1), True, key=lambda lost: refuses_lost(lost, counts[0])
    )
    for gained in counts:
        while lost <= rows - gained and not refuses_lost(lost, gained):
            lost += 1
        yield gained, lost if lost <= rows - gained else rows + 1
