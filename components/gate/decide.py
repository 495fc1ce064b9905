"""The release decision: whether a model may ship, by the evidence of the test split.

Synopsis::

    checks = decide(Case(evidence, policy, provenance, decision=3))
    released = passed(checks)

docs/gate.md describes each check, and CONTRIBUTING.md how a plugin adds one. Neither TFX nor
TensorFlow is imported here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from components.gate import accuracy, integrity
from components.gate.check import Check
from components.gate.evidence import Case
from trainer.host.registry import PluginError, Registry
from trainer.host.text import one_line


@dataclasses.dataclass(frozen=True)
class GateCheck:
    """An entry of `GATE_CHECKS`.

    Attributes:
      make: yields any number of checks; those of a plugin are to be named NAME, like the entry, or
        to begin with "NAME.".
      parse: reads the text of the threshold `gate.extra.NAME` into a JSON-able value; a ValueError
        says what is expected. None for an entry without such a threshold.
      simulated: whether it judges by right and wrong predictions alone, so that `gate simulate`
        makes it too.
    """

    help: str
    make: Callable[[Case], Iterable[Check]]
    parse: Callable[[str], Any] | None = None
    simulated: bool = False


GATE_CHECKS: Registry[GateCheck] = Registry("gate check")

_OWN: dict[str, GateCheck] = {
    "integrity": GateCheck("the counts are of this model and test split", integrity.integrity),
    "test_budget": GateCheck("decisions that the test set has served", integrity.test_budget),
    "floor": GateCheck("accuracy over all examples", accuracy.floor, simulated=True),
    "cross_entropy": GateCheck("quality of the probabilities", accuracy.cross_entropy),
    "paired": GateCheck("accuracy against the baseline's", accuracy.paired, simulated=True),
    "baseline": GateCheck("there is a baseline to compare with", integrity.baseline),
    "class": GateCheck("accuracy of each class and slice", accuracy.group_floors, simulated=True),
    "class_change": GateCheck(
        "each class and slice against the baseline's", accuracy.group_changes, simulated=True
    ),
}
for _name, _entry in _OWN.items():
    GATE_CHECKS.add(_name, _entry)


def decide(case: Case, *, simulated: bool = False) -> tuple[Check, ...]:
    """Makes every check, or only the `simulated` ones; the candidate may ship when all passed.

    A NaN fails each check that it enters, because no comparison with it is true. Raises PluginError
    if a plugin's check fails to judge.
    """
    made: list[Check] = []
    for name, entry in GATE_CHECKS.items():
        if simulated and not entry.simulated:
            continue
        try:
            made.extend(entry.make(case))
        except Exception as error:
            if name in _OWN:
                raise
            raise PluginError(
                f"the gate check {name!r} could not be made ({one_line(error)}): repair or "
                "uninstall its plugin"
            ) from error
    return tuple(made)
