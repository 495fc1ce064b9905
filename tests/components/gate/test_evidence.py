"""Counts: which are possible, and their form as JSON."""

import dataclasses
import json

import pytest

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from tests.components.gate.cases import COMPARED, SEVERAL, checks_of, with_slices


@pytest.mark.parametrize(
    "counts",
    [
        {"rows": 1, "correct": 2},
        {"rows": 10, "correct": 9, "lost": 2},
        {"rows": 10, "correct": 3, "gained": 4},
        {"rows": 10, "correct": -1},
    ],
)
def test_impossible_counts_are_an_error(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is impossible"):
        Tally(**counts)


def test_evidence_and_checks_survive_their_json_form() -> None:
    sliced = with_slices(COMPARED, SEVERAL, SEVERAL)
    confused = dataclasses.replace(sliced, confusion=((970, 30), (30, 970)))
    for counted in (sliced, confused):
        assert Evidence.from_dict(json.loads(json.dumps(counted.to_dict()))) == counted
    for check in checks_of(sliced):
        assert Check.from_dict(json.loads(json.dumps(check.to_dict()))) == check
