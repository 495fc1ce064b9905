"""The release decision: which model may ship, as pure functions over what the Evaluator counted.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.002)
    checks = decide(evidence, policy, provenance=provenance, decision=3)
    released = passed(checks)

Neither TFX nor TensorFlow is imported here. `components.evaluation` carries what TFMA can carry of
it into the EvalConfig, and `components.release_gate` holds both decisions against each other. What
each check asks, and from which source its statistics are, stands in docs/gate.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import statistics
from pipeline.checks import Check
from pipeline.policy import Policy

# TFMA's cross-entropy is a float32: it counts as held within this. Bounds and p-values follow from
# whole counts by the same arithmetic on both sides, and need none.
TOLERANCE = 1e-6

_AGAIN = "run again with --no-cache"


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts over a group of examples.

    Attributes:
      rows: examples.
      correct: those that the candidate gets right.
      lost: those that only the served model gets right; 0 where nothing is served.
      gained: those that only the candidate gets right, of those that the served model gets wrong; 0
        where nothing is served.
    """

    rows: int
    correct: int
    lost: int = 0
    gained: int = 0

    def __post_init__(self) -> None:
        if not (
            0 <= self.gained <= self.correct <= self.rows
            and 0 <= self.lost <= self.rows - self.correct
        ):
            raise ValueError(f"{self} is impossible: more of a part than of the whole")

    @property
    def errors(self) -> int:
        return self.rows - self.correct

    @property
    def accuracy(self) -> float:
        """0..1; NaN of nothing."""
        return self.correct / self.rows if self.rows else math.nan

    @property
    def change(self) -> float:
        """Accuracy less the served model's, -1..1; NaN of nothing."""
        return (self.gained - self.lost) / self.rows if self.rows else math.nan


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the Evaluator counted on the test split.

    Attributes:
      overall: over all examples.
      classes: over the examples of each class, by its name; every class of the data set, in the
        order of the labels.
      slices: over the examples of each slice, by its name.
      cross_entropy: the candidate's mean of -ln(probability of the label), nats.
      top_2_accuracy: fraction whose label is among the candidate's two most probable classes.
      not_finite: examples for which the candidate gave a probability that is NaN or infinite.
      compared: whether there was a served model, so that `lost` and `gained` mean something.
      confusion: [label][answer], examples of each class by the class that the candidate took them
        for, both in the order of the labels; one that is `not_finite` got no answer. Empty where
        that was not counted: no check needs it.
    """

    overall: Tally
    classes: Mapping[str, Tally]
    slices: Mapping[str, Tally]
    cross_entropy: float
    top_2_accuracy: float
    not_finite: int = 0
    compared: bool = False
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """The candidate's, as the release record and `--json` have them."""
        return {
            "accuracy": self.overall.accuracy,
            "top_2_accuracy": self.top_2_accuracy,
            "cross_entropy": self.cross_entropy,
            "by_class": {name: tally.accuracy for name, tally in self.classes.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evidence:
        groups = {
            key: {name: Tally(**tally) for name, tally in fields[key].items()}
            for key in ("classes", "slices")
        }
        whole = {
            "overall": Tally(**fields["overall"]),
            "confusion": tuple(map(tuple, fields.get("confusion", ()))),
        }
        return cls(**{**fields, **groups, **whole})


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What the evidence was taken from, beside what it should have been taken from.

    Attributes:
      split_rows: examples that the data source's component recorded for the test split.
      split_digest: of the examples that were evaluated.
      recorded_digest: of the test split, as the data source's component recorded it.
      evaluated_model: directory of the SavedModel that was evaluated.
      exported_model: directory of the SavedModel that is to ship.
      withdrawn: when and why this very model was taken back before; None where it never was.
    """

    split_rows: int
    split_digest: str
    recorded_digest: str
    evaluated_model: str
    exported_model: str
    withdrawn: str | None = None


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


def loss_upper(overall: Tally, policy: Policy, decision: int) -> float:
    """The accuracy that the candidate is shown to lose at most against the served model, -1..1."""
    return statistics.loss_upper(
        overall.lost,
        overall.gained,
        overall.rows,
        1.0 - policy.release_alpha(decision),
        max_drop=policy.max_drop,
    )


@dataclasses.dataclass(frozen=True)
class Group:
    """A class or a slice.

    Attributes:
      kind: "class" or "slice".
      label: the words for it.
      name: of the check that holds it to the class floor, such as "class.7".
      tally: its counts.
      judged: whether it belongs to the family of tests.
    """

    kind: str
    label: str
    name: str
    tally: Tally
    judged: bool


def groups(evidence: Evidence, policy: Policy) -> list[Group]:
    """The classes and slices, which are one family of tests."""
    return [
        *(
            Group("class", f"class {name}", f"class.{name}", tally, judged=tally.rows > 0)
            for name, tally in evidence.classes.items()
        ),
        *(
            Group("slice", name, f"slice.{name}", tally, judged=tally.rows >= policy.min_slice_rows)
            for name, tally in evidence.slices.items()
        ),
    ]


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
    bound = loss_upper(overall, policy, decision)
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
