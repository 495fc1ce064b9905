"""The release policy: which model may ship, as pure functions over what the Evaluator counted.

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
from pipeline.slicing import Bands

# A bound counts as held when less than one example in a million is missing: TFMA's cross-entropy is
# a float32, and its thresholds and ours must see a value on a bound alike.
TOLERANCE = 1e-6

_AGAIN = "run again with --no-cache"


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a model must hold on the test split. docs/gate.md gives reasons and sources.

    Attributes:
      floor: accuracy over all examples that must lie below the confidence bound, 0..1.
      class_floor: accuracy over the examples of each class, and of each slice, that the counts
        must not contradict, 0..1.
      max_cross_entropy: largest mean cross-entropy over all examples, nats, 0 or more.
      max_drop: largest loss of accuracy against the served model that the confidence bound may
        leave open, 0..1.
      must_improve: whether the candidate must be shown to be better than the served model, where
        it otherwise must not be shown to be worse.
      slices: further groups of examples that are held like classes.
      min_slice_rows: a slice with fewer examples is not judged.
      confidence: of each bound and, as 1 - confidence, the level of each test or family of tests;
        above 0.5 and below 1.
      test_budget: decisions on one test set after which the floor's confidence is tightened, 1 or
        more.
      allow_missing_baseline: whether a model may ship though what is served cannot be read.
    """

    floor: float
    class_floor: float
    max_cross_entropy: float
    max_drop: float
    must_improve: bool = False
    slices: tuple[Bands, ...] = ()
    min_slice_rows: int = 100
    confidence: float = 0.95
    test_budget: int = 20
    allow_missing_baseline: bool = False

    def __post_init__(self) -> None:
        for name in ("floor", "class_floor", "max_drop"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"gate.{name} is {value}, expected a fraction from 0 to 1: 0.99 stands for 99 %"
                )
        if not 0.0 <= self.max_cross_entropy < math.inf:
            raise ValueError(
                f"gate.max_cross_entropy is {self.max_cross_entropy}, expected nats, 0 or more"
            )
        if not 0.5 < self.confidence < 1.0:
            raise ValueError(
                f"gate.confidence is {self.confidence}, expected above 0.5 and below 1: 0.95 "
                "stands for 95 %"
            )
        for name in ("min_slice_rows", "test_budget"):
            if getattr(self, name) < 1:
                raise ValueError(f"gate.{name} is {getattr(self, name)}, expected 1 or more")
        if len({bands.feature for bands in self.slices}) != len(self.slices):
            raise ValueError("gate.slices names a feature twice, expected one list of edges each")

    @property
    def alpha(self) -> float:
        """Level of each test, and of each family of tests."""
        # 1 - 0.95 is 0.05000000000000004.
        return round(1.0 - self.confidence, 12)

    @property
    def allowed_error(self) -> float:
        """Fraction of a class, or of a slice, that may be wrong, 0..1."""
        return round(1.0 - self.class_floor, 12)

    def floor_confidence(self, decision: int) -> float:
        """Confidence of the floor's bound at the n-th decision on one test set.

        Each decision tells something of the test set, and what is chosen by it fits the set a
        little. Up to the budget that is let pass. Beyond it the n-th decision shares the error with
        all those before it, 1 - alpha / n: what Bonferroni's inequality asks of n bounds that shall
        all hold (Renggli et al. 2019, section 3.2).

        Args:
          decision: n, from 1.
        """
        sharing = decision if decision > self.test_budget else 1
        return 1.0 - self.alpha / sharing

    def to_config(self) -> dict[str, Any]:
        """As JSON-able values, for TFX's parameters and the release record."""
        return {**dataclasses.asdict(self), "slices": [str(bands) for bands in self.slices]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Policy:
        return cls(**{**config, "slices": tuple(Bands.parse(text) for text in config["slices"])})


def promised_cross_entropy(floor: float, num_classes: int) -> float:
    """The cross-entropy of a model that is as good as the floor, and knows it, in nats.

    It gives its answer the probability `floor`, shares the rest among the other classes alike, and
    is right in that fraction of the cases: -f ln f - (1 - f) ln((1 - f) / (K - 1)). A model with
    more is too sure where it errs, or unsure where it is right, as one that was trained on
    wrong labels: its accuracy may hold the floor, but nobody can act on its probabilities.

    Args:
      floor: accuracy f, 0..1; below chance it counts as chance.
      num_classes: K, at least 2.
    """
    f = max(floor, 1.0 / num_classes)
    if f >= 1.0:
        return 0.0
    return -f * math.log(f) - (1.0 - f) * math.log((1.0 - f) / (num_classes - 1))


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
        *_integrity(evidence, provenance),
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
    checks = [
        _floor(overall, policy, decision),
        _cross_entropy(evidence.cross_entropy, policy.max_cross_entropy),
    ]
    if evidence.compared:
        better = _improved if policy.must_improve else _not_worse
        checks += [better(overall, policy), _max_drop(overall, policy)]
    return tuple(checks)


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


def _integrity(evidence: Evidence, provenance: Provenance) -> Iterator[Check]:
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
        else f"{evidence.not_finite:,} of {rows:,} predictions hold NaN or infinity, expected "
        "none: look at the training's loss",
    )


def _test_budget(policy: Policy, decision: int) -> Check:
    """No gate of its own: what it costs to be beyond the budget, the floor's check takes."""
    sentence = f"decision {decision:,} on this test set, {policy.test_budget:,} before the floor's "
    sentence += "confidence is tightened"
    if decision > policy.test_budget:
        confidence = _percent(policy.floor_confidence(decision))
        sentence += f", now to {confidence}: collect new test images"
    return Check("test_budget", True, decision, policy.test_budget, sentence)


def _floor(overall: Tally, policy: Policy, decision: int) -> Check:
    confidence = policy.floor_confidence(decision)
    bound = statistics.wilson_lower(overall.correct, overall.rows, confidence)
    holds = bound >= policy.floor - TOLERANCE
    sentence = (
        f"accuracy is {overall.accuracy:.4f}, above {bound:.4f} with {_percent(confidence)} "
        "confidence, "
    )
    sentence += (
        f"at least {policy.floor:.4f}"
        if holds
        else f"required is {policy.floor:.4f} or more: train longer, look at the data, or set "
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


def _improved(overall: Tally, policy: Policy) -> Check:
    p = statistics.mcnemar(overall.gained, overall.lost)
    holds = p <= policy.alpha
    sentence = f"{_pairs(overall)} against the served model: " + (
        f"better (p = {p:.2g})"
        if holds
        else f"not shown to be better (p = {p:.2g}, required at most {policy.alpha:g}, since "
        "gate.must_improve is set): the served model stays"
    )
    return Check("improved", holds, p, policy.alpha, sentence)


def _max_drop(overall: Tally, policy: Policy) -> Check:
    bound = statistics.loss_upper(overall.lost, overall.gained, overall.rows, policy.confidence)
    holds = bound <= policy.max_drop + TOLERANCE
    sentence = (
        f"accuracy changes by {overall.change:+.4f} and falls by less than {bound:.4f} with "
        f"{_percent(policy.confidence)} confidence, "
        if bound > 0
        else f"accuracy changes by {overall.change:+.4f} and rises by more than {-bound:.4f} with "
        f"{_percent(policy.confidence)} confidence, "
    )
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


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.4g} %"
