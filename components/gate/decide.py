"""The release decision: whether a model may ship, by the evidence of the test split.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.002)
    checks = decide(evidence, policy, provenance=provenance, decision=3)
    released = passed(checks)

Every check is an entry of `GATE_CHECKS`. A plugin (`trainer.host.registry`) adds one of its own,
whose threshold is set by `gate.extra.NAME` and stands in the release record::

    def top_2(case: Case) -> Iterator[Check]:
        actual, least = case.evidence.top_2_accuracy, case.policy.extra.get("top_2", 0.99)
        yield Check("top_2", actual >= least, actual, least, f"top-2 accuracy {actual:.4f}, ...")

    GATE_CHECKS.add("top_2", GateCheck("the label is among the first two", top_2, parse=float))

docs/gate.md describes each check, with the sources of its statistics. Neither TFX nor TensorFlow is
imported here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from components.gate import accuracy, integrity
from components.gate.check import Check
from components.gate.evidence import Case, Evidence, Provenance
from components.gate.policy import Policy
from trainer.host.registry import Registry


@dataclasses.dataclass(frozen=True)
class GateCheck:
    """An entry of `GATE_CHECKS`.

    Attributes:
      help: what it checks, in a line.
      make: yields any number of checks, whose names are NAME or begin with "NAME.", NAME being that
        of the entry.
      parse: reads the text of its threshold `gate.extra.NAME` into a JSON-able value; a ValueError
        says what is expected. None for an entry without such a threshold.
      simulated: whether it judges by nothing but right and wrong predictions, so that
        `gate simulate` makes it too.
    """

    help: str
    make: Callable[[Case], Iterable[Check]]
    parse: Callable[[str], Any] | None = None
    simulated: bool = False


GATE_CHECKS: Registry[GateCheck] = Registry("gate check")

for _name, _entry in {
    "integrity": GateCheck("the counts are of this model and test split", integrity.integrity),
    "test_budget": GateCheck("decisions that the test set has served", integrity.test_budget),
    "floor": GateCheck("accuracy over all examples", accuracy.floor, simulated=True),
    "cross_entropy": GateCheck("quality of the probabilities", accuracy.cross_entropy),
    "paired": GateCheck("accuracy against the served model's", accuracy.paired, simulated=True),
    "baseline": GateCheck("there is a served model to compare with", integrity.baseline),
    "class": GateCheck("accuracy of each class and slice", accuracy.group_floors, simulated=True),
    "class_change": GateCheck(
        "each class and slice against the served model's", accuracy.group_changes, simulated=True
    ),
}.items():
    GATE_CHECKS.add(_name, _entry)


def decide(
    evidence: Evidence,
    policy: Policy,
    *,
    provenance: Provenance,
    decision: int = 1,
    damage: str | None = None,
    simulated: bool = False,
) -> tuple[Check, ...]:
    """Makes every check; the candidate may ship when all of them passed.

    A NaN fails each check that it enters, because no comparison with it is true. The arguments are
    those of `Case`.

    Args:
      simulated: whether to make only the checks that are `GateCheck.simulated`.
    """
    case = Case(evidence, policy, provenance, decision, damage)
    entries = [entry for entry in GATE_CHECKS.values() if entry.simulated or not simulated]
    return tuple(check for entry in entries for check in entry.make(case))
