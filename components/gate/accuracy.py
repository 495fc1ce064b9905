"""Checks of the predictions: over all examples, by class and slice, against the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.gate import statistics
from components.gate.check import Check
from components.gate.evidence import Case, Tally, groups
from components.gate.policy import Policy
from trainer.host.text import apart, confidence, p_value

_TOLERANCE = 1e-6  # of the cross-entropy, which is rounded to six decimals


def accuracy_lower(overall: Tally, policy: Policy, decision: int) -> float:
    """The lower confidence bound of the candidate's accuracy, 0..1."""
    level = 1.0 - policy.release_alpha(decision)
    return statistics.clopper_pearson_lower(overall.correct, overall.rows, level)


def drop_upper(overall: Tally, policy: Policy, decision: int) -> float:
    """The upper confidence bound of the drop from the baseline's accuracy, -1..1."""
    return statistics.drop_upper(
        overall.lost,
        overall.gained,
        overall.rows,
        1.0 - policy.release_alpha(decision),
        max_drop=policy.max_drop,
    )


def least_rows(policy: Policy, decision: int) -> int | None:
    """The fewest test images on which a model without errors is shown to reach the floor.

    None for a floor of 1, which no number of images shows.
    """
    if policy.floor == 1:
        return None
    if policy.floor == 0:
        return 1
    # Of n images without an error the lower bound is alpha ** (1 / n).
    rows = math.ceil(math.log(policy.release_alpha(decision)) / math.log(policy.floor))
    fewer = Tally(rows=rows - 1, correct=rows - 1)  # which suffice if rounding added one
    return rows - (accuracy_lower(fewer, policy, decision) >= policy.floor)


def floor_check(overall: Tally, policy: Policy, decision: int) -> Check:
    """Checks whether the lower bound of the accuracy reaches the floor."""
    bound = accuracy_lower(overall, policy, decision)
    remedy = "train longer, look at the data, or set gate.floor"
    least = least_rows(policy, decision)
    if least is None:
        remedy = "no number of test images shows it; set gate.floor lower"
    elif overall.rows < least:
        remedy = (
            f"no model reaches it on {overall.rows:,} test images; take {least:,} at least, or set "
            "gate.floor"
        )
    elif overall.accuracy >= policy.floor:
        remedy = "train longer, take more test images, or set gate.floor"
    lower, required = apart(bound, policy.floor)
    return Check.of(
        "floor",
        bound >= policy.floor,
        bound,
        policy.floor,
        start=f"accuracy {overall.accuracy:.4f}; its {_confidence(policy, decision)} lower bound "
        f"{lower} ",
        good=f"reaches the floor {required}",
        bad=f"misses the floor {required}: {remedy}",
    )


def floor(case: Case) -> Iterator[Check]:
    """Makes the `floor_check`."""
    yield floor_check(case.evidence.overall, case.policy, case.decision)


def cross_entropy(case: Case) -> Iterator[Check]:
    """Checks whether the probabilities, if they are known, are as good as the floor promises."""
    actual, bound = case.evidence.cross_entropy, case.policy.max_cross_entropy
    if actual is None:
        return
    found, allowed = apart(actual, bound)
    yield Check.of(
        "cross_entropy",
        actual <= bound + _TOLERANCE,
        actual,
        bound,
        start=f"cross-entropy {found}; at most {allowed} is allowed",
        bad=": the probabilities cannot be relied on; look for wrong labels in the training data, "
        "or set gate.max_cross_entropy",
    )


def paired_checks(overall: Tally, policy: Policy, decision: int) -> tuple[Check, Check]:
    """Checks whether the candidate is worse than the baseline, and by how much."""
    if policy.must_improve:
        p, level = statistics.mcnemar(overall.gained, overall.lost), policy.release_alpha(decision)
        better = Check.of(
            "improved",
            p <= level,
            p,
            level,
            start=f"{_pairs(overall)}: ",
            good=f"shown to be better ({p_value(p)})",
            bad=f"not shown to be better ({p_value(p)}, required at most {level:.2g}, since "
            "gate.must_improve is set): keep the baseline",
        )
    else:
        p = statistics.mcnemar(overall.lost, overall.gained)
        level = policy.alpha
        better = _not_worse("not_worse", p, p, level, level, start=f"{_pairs(overall)}: ")
    bound = drop_upper(overall, policy, decision)
    drop, allowed = apart(bound, policy.max_drop)
    extent = f"drops by at most {drop}" if bound > 0 else f"rises by at least {-bound:.4f}"
    return better, Check.of(
        "max_drop",
        bound <= policy.max_drop,
        bound,
        policy.max_drop,
        start=f"accuracy changes by {overall.change:+.4f}; with {_confidence(policy, decision)} "
        f"confidence it {extent}; a drop of at most {allowed} is allowed",
        bad=": keep the baseline, evaluate on more test images, or set gate.max_drop",
    )


def paired(case: Case) -> Iterator[Check]:
    """Makes the `paired_checks`, if there is a baseline."""
    if case.evidence.compared:
        yield from paired_checks(case.evidence.overall, case.policy, case.decision)


def group_floors(case: Case) -> Iterator[Check]:
    """Checks by exact binomial tests, as one family, whether a class or slice errs too often."""
    policy, every = case.policy, groups(case.evidence, case.policy)
    alpha, allowed_error = policy.alpha, policy.allowed_error
    tails = {
        group.name: statistics.binomial_tail(group.tally.errors, group.tally.rows, allowed_error)
        for group in every
        if group.judged
    }
    p_values = dict(zip(tails, statistics.holm([*tails.values()]), strict=True))
    for group in every:
        floor, accuracy = policy.class_floor, group.tally.accuracy
        if not group.judged:
            sentence = f"{group.label} has no test images, so it is not judged"
            if group.tally.rows:
                sentence = (
                    f"{group.label} has {group.tally.rows:,} test images, too few to be judged: "
                    f"gate.min_slice_rows is {policy.min_slice_rows:,}"
                )
            yield Check(group.name, True, None, floor, sentence)
            continue
        p = p_values[group.name]
        shown, lowest = apart(accuracy, floor)
        yield Check.of(
            group.name,
            p > alpha,
            accuracy,
            floor,
            start=f"{group.label}: accuracy {shown}, ",
            good=f"not shown to be below the class floor {lowest} ({p_value(p)})",
            bad=f"shown to be below the class floor {lowest} ({p_value(p)}, required above "
            f"{alpha:g}): look at the {group.kind}'s examples, or set gate.class_floor",
        )


def group_changes(case: Case) -> Iterator[Check]:
    """Checks by exact McNemar tests, as one family, whether a class or slice got worse."""
    if not case.evidence.compared:
        return
    alpha = case.policy.alpha
    judged = [group for group in groups(case.evidence, case.policy) if group.judged]
    tails = [statistics.mcnemar(group.tally.lost, group.tally.gained) for group in judged]
    for group, p in zip(judged, statistics.holm(tails), strict=True):
        name = group.name.replace(".", "_change.", 1)
        start = f"{group.label}: {_pairs(group.tally)}, "
        yield _not_worse(name, p, group.tally.change, 0.0, alpha, start=start)


def _not_worse(
    name: str, p: float, actual: float, required: float, alpha: float, *, start: str
) -> Check:
    return Check.of(
        name,
        p > alpha,
        actual,
        required,
        start=start,
        good=f"not shown to be worse ({p_value(p)})",
        bad=f"shown to be worse ({p_value(p)}, required above {alpha:g}): keep the baseline",
    )


def _pairs(tally: Tally) -> str:
    return (
        f"{tally.gained:,} gained and {tally.lost:,} lost of {tally.rows:,} test images against "
        "the baseline"
    )


def _confidence(policy: Policy, decision: int) -> str:
    return confidence(1.0 - policy.release_alpha(decision))
