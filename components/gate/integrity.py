"""Checks of the evidence itself: its origin, and whether it can be judged."""

from __future__ import annotations

from collections.abc import Iterator

from components.gate.check import Check
from components.gate.evidence import Case, Evidence, Provenance
from components.gate.policy import Policy
from trainer.host.text import listed

_AGAIN = "run again with --no-cache"


def integrity(case: Case) -> Iterator[Check]:
    """Checks whether the counts are of the recorded test split and of the model that is to ship."""
    if case.provenance is not None:
        yield from _origin(case.evidence, case.provenance)
    yield from _completeness(case.evidence)
    yield from _named_slices(case.evidence, case.policy)


def _origin(evidence: Evidence, provenance: Provenance) -> Iterator[Check]:
    rows, recorded = evidence.overall.rows, provenance.split_rows
    yield Check.of(
        "integrity.rows",
        rows == recorded > 0,
        rows,
        recorded,
        start=f"{rows:,} test images evaluated",
        bad=f", expected the {recorded:,} recorded: {_AGAIN}",
    )
    digest, expected = provenance.split_digest, provenance.recorded_digest
    yield Check.of(
        "integrity.digest",
        digest == expected,
        digest,
        expected,
        start=f"the test split has the digest {digest[:12]}",
        bad=f", expected the recorded {expected[:12]}: {_AGAIN}",
    )
    evaluated, exported = provenance.evaluated_model, provenance.exported_model
    yield Check.of(
        "integrity.model",
        evaluated == exported,
        evaluated,
        exported,
        good="the exported SavedModel was evaluated",
        bad=f"the model in {evaluated} was evaluated, expected the exported one in {exported}: "
        f"{_AGAIN}",
    )
    withdrawn = provenance.withdrawn
    yield Check.of(
        "integrity.withdrawn",
        withdrawn is None,
        withdrawn,
        None,
        good="this model was never withdrawn",
        bad=f"this very model was {withdrawn}; train another one",
    )


def _completeness(evidence: Evidence) -> Iterator[Check]:
    missing = [name for name, tally in evidence.classes.items() if not tally.rows]
    classes, present = len(evidence.classes), len(evidence.classes) - len(missing)
    yield Check.of(
        "integrity.classes",
        0 < present == classes,
        present,
        classes,
        good=f"all {present} classes are in the test split",
        bad=f"the test split has no example of {listed(missing) if missing else 'any class'}, "
        "so no model can be judged there: look at the source",
    )
    if evidence.cross_entropy is None:  # there are no probabilities
        return
    rows, broken = evidence.overall.rows, evidence.not_finite
    yield Check.of(
        "integrity.finite",
        broken == 0,
        broken,
        0,
        good="every probability is a finite number",
        bad=f"{broken:,} of {rows:,} predictions hold NaN or infinity, expected none: look at the "
        "training's loss",
    )


def _named_slices(evidence: Evidence, policy: Policy) -> Iterator[Check]:
    """A value that never occurs is a slip, such as camera=raer, and would be judged by nothing."""
    named = [name for one in policy.slices for name in one.named]
    missing = [name for name in named if not evidence.slices[name].rows]
    if named:
        yield Check.of(
            "integrity.slices",
            not missing,
            len(named) - len(missing),
            len(named),
            good=f"each value that gate.slices names is in the test split ({len(named)})",
            bad=f"the test split has no example of {listed(missing)}, which gate.slices names: "
            "correct the name, or add examples",
        )


def test_budget(case: Case) -> Iterator[Check]:
    """Says the number of the decision, by which other checks are stricter; always passes."""
    policy, decision = case.policy, case.decision
    sentence = (
        f"decision {decision:,} on this test set: it releases a bad model with a probability of at "
        f"most {policy.release_alpha(decision) * 100:.2g} %, all decisions together with at most "
        f"{policy.alpha * 100:.4g} %"
    )
    if decision > policy.test_budget:
        sentence += f"; {policy.test_budget:,} were planned for: collect new test images"
    if case.lost:
        sentence += (
            f"; the decision log had lost {case.lost:,} of those before, which count: models that "
            "it alone knew as withdrawn or rejected are forgotten, unless you put its lines back"
        )
    yield Check("test_budget", True, decision, policy.test_budget, sentence)


def damage_check(damage: str, policy: Policy) -> Check:
    """Checks whether a model may ship though the served one cannot be read; `damage` says why."""
    return Check.of(
        "baseline",
        policy.allow_missing_baseline,
        damage,
        "a version that matches its manifest",
        start=f"the served model cannot be read: {damage}; ",
        good="overridden by gate.allow_missing_baseline",
        bad="repair it, roll back to a good version, or override with --allow-missing-baseline "
        "--reason TEXT",
    )


def first_check(policy: Policy, serving_dir: str = "") -> Check:
    """Checks whether a model may ship though nothing is served, in `serving_dir` if it is known."""
    where = f": nothing is served in {serving_dir}" if serving_dir else ""
    return Check.of(
        "baseline",
        not policy.require_baseline,
        None,
        "a served version" if policy.require_baseline else None,
        start=f"there is no baseline to compare with{where}",
        bad=", and gate.require_baseline is set: give the directory that is served from, or the "
        "baseline, or release the first model with gate.require_baseline=false",
    )


def baseline(case: Case) -> Iterator[Check]:
    """Says why the candidate was compared with nothing, or with an older version."""
    if case.damage is not None:
        yield damage_check(case.damage, case.policy)
    # With damage as well: the older version, if there is one, is the baseline then.
    if not case.evidence.compared and (case.damage is None or case.policy.require_baseline):
        yield first_check(case.policy)
