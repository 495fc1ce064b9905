"""What the gate would have seen, and what it would not: the power of its tests, exact from counts.

Synopsis::

    whole = of_all(evidence, policy, decision=3)
    whole.refusal(0.01)               # 0.97: so likely is a model refused that is a point worse
    whole.smallest_loss(0.8)          # 0.0062: of models that lose more, four in five are refused
    for sight in of_groups(evidence, policy):
        sight.smallest_loss(0.8)      # the same within a class or slice; None: no loss is seen so

A gate that let a model pass has shown that nothing is wrong that a test set of this size can show.
How much that is depends on the counts alone.

A model that is as good as the reference (the served model, or with nothing served the candidate
itself, as measured) gains and loses half of the discordance each: of the examples on which exactly
one of the two models was right. A model that is worse by x loses x more, and gains no more.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterator

from components.gate import decide
from components.gate.check import passed
from components.gate.evidence import Evidence, Group, Tally, groups
from components.gate.policy import Policy
from components.gate.statistics import binomial_tail, likely, mcnemar, paired_pass

_PRECISION = 0.05  # of a loss, in examples


@dataclasses.dataclass(frozen=True)
class ErrorRule:
    """Refuses from a number of errors on: the floor, or a class's.

    Attributes:
      rows: examples.
      accuracy: the true one without a loss, 0..1.
      critical: the smallest number of errors that is refused; more than `rows` where none is.
    """

    rows: int
    accuracy: float
    critical: int

    @property
    def largest_loss(self) -> float:
        """All that there is to lose."""
        return self.accuracy

    def refusal(self, loss: float) -> float:
        """Probability of a refusal, by the true loss."""
        return binomial_tail(self.critical, self.rows, min(1.0, 1.0 - self.accuracy + loss))


@dataclasses.dataclass(frozen=True)
class PairedRule:
    """Refuses from a number of lost examples on, which depends on the number of gained ones.

    Attributes:
      rows: examples.
      accuracy: the reference's true one, 0..1.
      gained: probability that an example is gained, 0 to 0.5 and to 1 - accuracy.
      critical: (gained examples, the smallest number of lost ones that is refused beside them), for
        every likely number of gained ones, rising; more than `rows` where none is.
    """

    rows: int
    accuracy: float
    gained: float
    critical: tuple[tuple[int, int], ...]

    @property
    def largest_loss(self) -> float:
        """What is lost beyond what is gained, when all is lost that can be."""
        return max(0.0, self.accuracy - self.gained)

    def refusal(self, loss: float) -> float:
        """Probability of a refusal, by the true loss.

        Exact; Miettinen 1968 (Biometrics 24, 339) and Connor 1987 (Biometrics 43, 207) have
        approximations to it.
        """
        passes = paired_pass(self.critical, self.rows, lost=self.gained + loss, gained=self.gained)
        return 1.0 - passes


Rule = ErrorRule | PairedRule


def smallest_loss(rule: Rule, probability: float) -> float | None:
    """The smallest true loss that the rule refuses with that probability.

    Args:
      rule: whose refusals become more likely with the loss.
      probability: such as 0.8.

    Returns:
      0 to 1, at most a twentieth of an example too large; None where not even the largest loss is
      refused so often.
    """
    low, high = 0.0, rule.largest_loss
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
class Sight:
    """What the gate sees of a group of examples.

    Attributes:
      label: the words for the group.
      tally: its counts.
      accuracy: of the reference on it, which losses are counted from, 0..1.
      floor: holds the candidate to an accuracy.
      comparison: holds it against the served model; None with nothing served.
    """

    label: str
    tally: Tally
    accuracy: float
    floor: ErrorRule
    comparison: PairedRule | None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """One or both."""
        return (self.floor,) if self.comparison is None else (self.floor, self.comparison)

    def refusal(self, loss: float) -> float:
        """Probability of a refusal, by the true loss: at least that of the rule that sees most."""
        return max(rule.refusal(min(loss, rule.largest_loss)) for rule in self.rules)

    def smallest_loss(self, probability: float) -> float | None:
        """The smallest true loss that is refused with at least that probability."""
        losses = (smallest_loss(rule, probability) for rule in self.rules)
        return min((loss for loss in losses if loss is not None), default=None)


def of_all(evidence: Evidence, policy: Policy, *, decision: int = 1) -> Sight | None:
    """What the checks over all examples see; None of no examples.

    These are the floor and, against a served model, both paired checks. The cross-entropy follows
    from no count.

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
    return _sight("all test images", overall, refuses_errors, compared)


def of_groups(evidence: Evidence, policy: Policy) -> list[Sight]:
    """What the checks within each class and slice that is judged see.

    Holm's method multiplies a p-value by the number of tests at most, and by less where other tests
    are clearer. A count that the full factor refuses is refused whatever the other p-values are.

    Args:
      evidence: counts on the test split.
      policy: whose checks they are.
    """
    judged = [group for group in groups(evidence, policy) if group.judged]

    def refuses_lost(lost: int, gained: int) -> bool:
        return len(judged) * mcnemar(lost, gained) <= policy.alpha

    def of_group(group: Group) -> Sight:
        def refuses_errors(errors: int) -> bool:
            p = binomial_tail(errors, group.tally.rows, policy.allowed_error)
            return len(judged) * p <= policy.alpha

        compared = refuses_lost if evidence.compared else None
        return _sight(group.label, group.tally, refuses_errors, compared)

    return [of_group(group) for group in judged]


def _sight(
    label: str,
    tally: Tally,
    refuses_errors: Callable[[int], bool],
    refuses_lost: Callable[[int, int], bool] | None,
) -> Sight:
    """Finds the smallest counts that each rule refuses; the rule refuses all larger ones too."""
    rows = tally.rows
    accuracy = (tally.correct + tally.lost - tally.gained) / rows
    errors = bisect.bisect_left(range(rows + 1), True, key=refuses_errors)
    comparison = None
    if refuses_lost is not None:
        # No more can be gained than the reference gets wrong.
        gained = min((tally.lost + tally.gained) / (2 * rows), 1.0 - accuracy)
        critical = tuple(_critical(rows, likely(rows, gained), refuses_lost))
        comparison = PairedRule(rows, accuracy, gained, critical)
    return Sight(label, tally, accuracy, ErrorRule(rows, accuracy, errors), comparison)


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
