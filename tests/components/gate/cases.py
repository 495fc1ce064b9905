"""Evidence, policies and provenance that the tests of the gate judge."""

import dataclasses

from components.gate.check import Check
from components.gate.decide import decide
from components.gate.evidence import Case, Evidence, Provenance, Tally
from components.gate.policy import Policy
from components.gate.slices import Bands

POLICY = Policy(floor=0.95, class_floor=0.9, max_cross_entropy=0.3, max_drop=0.01)
ANYTHING = Policy(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0)
FIRST = 1.0 - 0.05 / 11  # confidence of the first decision on a test set, see `release_alpha`
BANDS = Bands("mean_intensity", (0.1,))


def total(tallies) -> Tally:
    rows = [dataclasses.astuple(tally) for tally in tallies]
    return Tally(*(sum(column) for column in zip(*rows, strict=True)))


def evidence(*, compared: bool = False, **classes: Tally | int) -> Evidence:
    """Of classes with these counts, or with so many correct predictions among 1,000 examples."""
    tallies = {
        name: tally if isinstance(tally, Tally) else Tally(rows=1000, correct=tally)
        for name, tally in classes.items()
    }
    return Evidence(
        overall=total(tallies.values()),
        classes=tallies,
        slices={},
        cross_entropy=0.1,
        top_2_accuracy=1.0,
        compared=compared,
    )


def provenance(rows: int, **changes: str) -> Provenance:
    sound = Provenance(
        split_rows=rows,
        split_digest="d" * 64,
        recorded_digest="d" * 64,
        evaluated_model="model",
        exported_model="model",
    )
    return dataclasses.replace(sound, **changes)


def checks_of(
    given: Evidence, policy: Policy = POLICY, *, simulated: bool = False, **arguments
) -> tuple[Check, ...]:
    arguments.setdefault("provenance", provenance(given.overall.rows))
    return decide(Case(given, policy, **arguments), simulated=simulated)


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def find(checks: tuple[Check, ...], name: str) -> Check:
    (check,) = (check for check in checks if check.name == name)
    return check


GOOD = evidence(cat=970, dog=980)
SEVERAL = Tally(rows=1000, correct=970, lost=4, gained=5)
COMPARED = evidence(compared=True, cat=SEVERAL, dog=SEVERAL)


def compared_with(lost: int, gained: int) -> Evidence:
    """Of 10,000 examples, half of each class."""
    cat, dog = (
        Tally(rows=5000, correct=4975 - lost, lost=lost, gained=gained)
        for lost, gained in ((lost // 2, gained // 2), (lost - lost // 2, gained - gained // 2))
    )
    return evidence(compared=True, cat=cat, dog=dog)


def with_slices(given: Evidence, dark: Tally, light: Tally) -> Evidence:
    names = BANDS.names
    return dataclasses.replace(given, slices=dict(zip(names, (dark, light), strict=True)))
