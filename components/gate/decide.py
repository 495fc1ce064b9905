"""The release decision: which model may ship, as pure functions over what the Evaluator counted.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.002)
    checks = decide(evidence, policy, provenance=provenance, decision=3)
    released = passed(checks)

Neither TFX nor TensorFlow is imported here. `components.evaluation` carries what TFMA can carry of
it into the EvalConfig, and its `release_gate` holds both decisions against each other. What each
check asks, and from which source its statistics are, stands in docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.gate import statistics
from components.gate.check import Check
from components.gate.evidence import Evidence, Provenance, Tally, groups
from components.gate.policy import Policy

# TFMA's cross-entropy is a float32: it counts as held within this. Bounds and p-values follow from
# whole counts by the same arithmetic on both sides, and need none.
TOLERANCE = 1e-6

_AGAIN = "run again with --no-cache"


def decide(
    evidence: Evidence,
    policy: Policy,
    *,
    provenance: Provenance,
    decision: int = 1,
    damage: str | None = None,
) -> tuple[Check, ...]:
    """Holds the candidate against the policy; it may ship when every check passed.

    A NaN fails each check that it enters, because no comparison with it is true.

    Args:
      evidence: counts on the test split.
      policy: what they are held against.
      provenance: where they come from.
      decision: how many decisions on this test set this one makes, from 1.
      damage: why what is served cannot be read; None where it can, or where nothing is served.
    """
    return (
        *_origin(evidence, provenance),
        *_completeness(evidence),
        _test_budget(policy, decision),
        *measured_checks(evidence, policy, decision=decision),
        *_baseline(evidence, policy, damage),
        *_group_floors(evidence, policy),
        *_group_changes(evidence, policy),
    )


def measured_checks(evidence: Evidence, policy: Policy, *, decision: int = 1) -> tuple[Check, ...]:
    """Those checks over all examples together that an evaluator with plain thresholds can make.

    The Evaluator makes them as well, from its own metrics, and must come to the same end.
    """
    overall = evidence.overall
    return (
        floor_check(overall, policy, decision),
        _cross_entropy(evidence.cross_entropy, policy.max_cross_entropy),
        *(paired_checks(overall, policy, decision) if evidence.compared else ()),
    )


def paired_checks(overall: Tally, policy: Policy, decision: int) -> tuple[Check, ...]:
    """Those of them that compare with the served model."""
    better = (
        _improved(overall, policy, decision) if policy.must_improve else _not_worse(overall, policy)
    )
    return better, _max_drop(overall, policy, decision)


def accuracy_lower(overall: Tally, policy: Policy, decision: int) -> float:
    """The accuracy that the candidate is shown to have at least, 0..1."""
    confidence = 1.0 - policy.release_alpha(decision)
    return statistics.clopper_pearson_lower(overall.correct, overall.rows, confidence)


def drop_upper(overall: Tally, policy: Policy, decision: int) -> float:
    """The accuracy that the candidate is shown to lose at most against the served model, -1..1."""
    return statistics.drop_upper(
        overall.lost,
        overall.gained,
        overall.rows,
        1.0 - policy.release_alpha(decision),
        max_drop=policy.max_drop,
    )


def damage_check(damage: str, policy: Policy) -> Check:
    """Whether a model may ship though what is served cannot be read.

    Args:
      damage: what is wrong with it, as one clause.
    """
    allowed = policy.allow_missing_baseline
    sentence = f"what is served cannot be read: {damage}; " + (
        "overridden by gate.allow_missing_baseline"
        if allowed
        else "repair it, roll back to a good version, or override with --allow-missing-baseline"
    )
    return Check("baseline", allowed, damage, "a version that matches its manifest", sentence)


def _origin(evidence: Evidence, provenance: Provenance) -> Iterator[Check]:
    """Whether the counts are of the recorded test split and of the model that is to ship."""
    rows, recorded = evidence.overall.rows, provenance.split_rows
    yield Check(
        "integrity.rows",
        rows == recorded > 0,
        rows,
        recorded,
        f"{rows:,} test images evaluated"
        + ("" if rows == recorded > 0 else f", expected the {recorded:,} recorded: {_AGAIN}"),
    )
    digest, expected = provenance.split_digest, provenance.recorded_digest
    yield Check(
        "integrity.digest",
        digest == expected,
        digest,
        expected,
        f"the test split has the digest {digest[:12]}"
        + ("" if digest == expected else f", expected the recorded {expected[:12]}: {_AGAIN}"),
    )
    evaluated, exported = provenance.evaluated_model, provenance.exported_model
    yield Check(
        "integrity.model",
        evaluated == exported,
        evaluated,
        exported,
        "the exported SavedModel was evaluated"
        if evaluated == exported
        else f"the model in {evaluated} was evaluated, expected the exported one in {exported}: "
        + _AGAIN,
    )
    yield Check(
        "integrity.withdrawn",
        provenance.withdrawn is None,
        provenance.withdrawn,
        None,
        "this model was never withdrawn"
        if provenance.withdrawn is None
        else f"this very model was withdrawn: {provenance.withdrawn}; train another one",
    )


def _completeness(evidence: Evidence) -> Iterator[Check]:
    """Whether every class has examples, and every example a prediction."""
    missing = [name for name, tally in evidence.classes.items() if not tally.rows]
    present = len(evidence.classes) - len(missing)
    yield Check(
        "integrity.classes",
        bool(evidence.classes) and not missing,
        present,
        len(evidence.classes),
        f"all {present} classes are in the test split"
        if not missing
        else f"the test split has no example of {', '.join(missing)}: nothing can be said of "
        "them; look at the source",
    )
    yield Check(
        "integrity.finite",
        evidence.not_finite == 0,
        evidence.not_finite,
        0,
        "every probability is a finite number"
        if evidence.not_finite == 0
        else f"{evidence.not_finite:,} of {evidence.overall.rows:,} predictions hold NaN or "
        "infinity, expected none: look at the training's loss",
    )


def _test_budget(policy: Policy, decision: int) -> Check:
    """No gate of its own: the checks whose error releases a bad model have less to spend."""
    sentence = (
        f"decision {decision:,} on this test set: it passes a bad model with probability "
        f"{policy.release_alpha(decision) * 100:.2g} % at most, all decisions together with "
        f"{_percent(policy.alpha)}"
    )
    if decision > policy.test_budget:
        sentence += f"; {policy.test_budget:,} were planned for: collect new test images"
    return Check("test_budget", True, decision, policy.test_budget, sentence)


def floor_check(overall: Tally, policy: Policy, decision: int) -> Check:
    """Whether the candidate is shown to be as accurate as the floor asks."""
    bound = accuracy_lower(overall, policy, decision)
    holds = bound >= policy.floor
    sentence = (
        f"accuracy is {overall.accuracy:.4f}; its {_confidence(policy, decision)} lower bound "
        f"{bound:.4f} "
    )
    sentence += (
        f"reaches the floor {policy.floor:.4f}"
        if holds
        else f"misses the floor {policy.floor:.4f}: train longer, look at the data, or set "
        "gate.floor"
    )
    return Check("floor", holds, bound, policy.floor, sentence)


def _group_floors(evidence: Evidence, policy: Policy) -> Iterator[Check]:
    """Exact binomial tests, one family: does a class or slice err more often than it may?"""
    every = groups(evidence, policy)
    judged = [group for group in every if group.judged]
    p_values = statistics.holm(
        [
            statistics.binomial_tail(group.tally.errors, group.tally.rows, policy.allowed_error)
            for group in judged
        ]
    )
    p_value_of = dict(zip((group.name for group in judged), p_values, strict=True))
    for group in every:
        accuracy, p = group.tally.accuracy, p_value_of.get(group.name)
        if p is None:
            rows = f"{group.tally.rows:,}"
            yield Check(
                group.name,
                True,
                None,
                policy.class_floor,
                f"{group.label} has {rows} test images, not judged below "
                f"{policy.min_slice_rows:,} (gate.min_slice_rows)",
            )
            continue
        holds = p > policy.alpha
        sentence = f"accuracy of {group.label} is {accuracy:.4f}, " + (
            f"allowed is {policy.class_floor:.4f} (p = {p:.2g})"
            if holds
            else f"allowed is {policy.class_floor:.4f}, and that is no chance (p = {p:.2g}): look "
            f"at the {group.kind}'s examples, or set gate.class_floor"
        )
        yield Check(group.name, holds, accuracy, policy.class_floor, sentence)


def _cross_entropy(actual: float, bound: float) -> Check:
    holds = actual <= bound + TOLERANCE
    sentence = (
        f"cross-entropy is {actual:.4f}, at most {bound:.4f}"
        if holds
        else f"cross-entropy is {actual:.4f}, required is {bound:.4f} or less: the probabilities "
        "are worse than the floor promises; look for wrong labels in the training data, or set "
        "gate.max_cross_entropy"
    )
    return Check("cross_entropy", holds, actual, bound, sentence)


def _baseline(evidence: Evidence, policy: Policy, damage: str | None) -> Iterator[Check]:
    if damage is not None:
        yield damage_check(damage, policy)
    elif not evidence.compared:
        sentence = "first release, no baseline: nothing is served to compare with"
        yield Check("baseline", True, None, None, sentence)


def _not_worse(overall: Tally, policy: Policy) -> Check:
    p = statistics.mcnemar(overall.lost, overall.gained)
    holds = p > policy.alpha
    sentence = f"{_pairs(overall)} against the served model: " + (
        f"not shown to be worse (p = {p:.2g})"
        if holds
        else f"worse, and that is no chance (p = {p:.2g}, required above {policy.alpha:g}): the "
        "served model stays"
    )
    return Check("not_worse", holds, p, policy.alpha, sentence)


def _improved(overall: Tally, policy: Policy, decision: int) -> Check:
    p, level = statistics.mcnemar(overall.gained, overall.lost), policy.release_alpha(decision)
    holds = p <= level
    sentence = f"{_pairs(overall)} against the served model: " + (
        f"better (p = {p:.2g})"
        if holds
        else f"not shown to be better (p = {p:.2g}, required at most {level:.2g}, since "
        "gate.must_improve is set): the served model stays"
    )
    return Check("improved", holds, p, level, sentence)


def _max_drop(overall: Tally, policy: Policy, decision: int) -> Check:
    bound = drop_upper(overall, policy, decision)
    holds = bound <= policy.max_drop
    sentence = f"accuracy changes by {overall.change:+.4f} and " + (
        f"falls by less than {bound:.4f}" if bound > 0 else f"rises by more than {-bound:.4f}"
    )
    sentence += f" with {_confidence(policy, decision)} confidence, "
    sentence += (
        f"at most {policy.max_drop:.4f}"
        if holds
        else f"required is a fall of {policy.max_drop:.4f} at most: the served model stays; more "
        "test images would tell more, or set gate.max_drop"
    )
    return Check("max_drop", holds, bound, policy.max_drop, sentence)


def _group_changes(evidence: Evidence, policy: Policy) -> Iterator[Check]:
    """Exact McNemar tests, one family: was a class or slice traded away for others?"""
    if not evidence.compared:
        return
    judged = [group for group in groups(evidence, policy) if group.judged]
    p_values = statistics.holm(
        [statistics.mcnemar(group.tally.lost, group.tally.gained) for group in judged]
    )
    for group, p in zip(judged, p_values, strict=True):
        holds = p > policy.alpha
        sentence = f"{group.label}: {_pairs(group.tally)} against the served model" + (
            f" (p = {p:.2g})"
            if holds
            else f": worse, and that is no chance (p = {p:.2g}, required above {policy.alpha:g}): "
            "the served model stays"
        )
        kind, _, name = group.name.partition(".")
        yield Check(f"{kind}_change.{name}", holds, group.tally.change, 0.0, sentence)


def _pairs(tally: Tally) -> str:
    return f"{tally.gained:,} gained and {tally.lost:,} lost of {tally.rows:,} test images"


def _confidence(policy: Policy, decision: int) -> str:
    return _percent(1.0 - policy.release_alpha(decision))


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.4g} %"
