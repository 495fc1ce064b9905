"""A gate's blessing: the artifact that holds its decision and the checks behind it.

    write(blessing, checks, facts=ReleaseFacts(...))   # in the component that decides
    is_blessed(blessing), checks_of(blessing), facts_of(blessing)

The form is TFX's own (tfx/components/evaluator/constants.py, infra_validator/executor.py).
Programs read the custom properties; the JSON files are for people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components.gate.check import Check, passed
from components.gate.evidence import Evidence
from components.monitoring.counts import Summary
from components.serving_dir import Comparison

BLESSED = "blessed"  # custom property: 1 or 0
CHECKS = "checks"  # custom property: JSON list of `Check.to_dict()`
CHECKS_FILE = "checks.json"  # the same list
FACTS = "facts"  # custom property: JSON object, the fields of ReleaseFacts if there are any
FACTS_FILE = "facts.json"  # the same object

# The files of a model that is blessed and of one that is not, by the artifact's type.
_FILES = {"InfraBlessing": ("INFRA_BLESSED", "INFRA_NOT_BLESSED")}
_MODEL_FILES = ("BLESSED", "NOT_BLESSED")


@dataclass(frozen=True)
class ReleaseFacts:
    """What the release gate decided on: the evidence, the model, and what it was compared with.

    `reference` is that of the test split.
    """

    evidence: Evidence
    model_digest: str
    compared: Comparison
    reference: Summary | None = None


def write(
    blessing: Artifact, checks: Sequence[Check], *, facts: ReleaseFacts | None = None
) -> bool:
    """Writes the checks; blesses, and returns True, if there are any and all of them passed.

    Args:
      blessing: an output artifact of any type.
      facts: what the decision on a release was made from.
    """
    blessed = passed(checks)
    for name, file, value in (
        (CHECKS, CHECKS_FILE, [check.to_dict() for check in checks]),
        (FACTS, FACTS_FILE, asdict(facts) if facts else {}),
    ):
        content = json.dumps(value)
        io_utils.write_string_file(str(Path(blessing.uri) / file), content)
        blessing.set_string_custom_property(name, content)
    yes, no = _FILES.get(blessing.type_name, _MODEL_FILES)
    io_utils.write_string_file(str(Path(blessing.uri) / (yes if blessed else no)), "")
    blessing.set_int_custom_property(BLESSED, int(blessed))
    return blessed


def is_blessed(blessing: Artifact) -> bool:
    """Tells whether a gate blessed the model, TFX's own Evaluator included."""
    return bool(blessing.get_int_custom_property(BLESSED) == 1)


def checks_of(blessing: Artifact) -> tuple[Check, ...]:
    """Returns the checks that `write` wrote; none where another component blessed."""
    checks = json.loads(blessing.get_string_custom_property(CHECKS) or "[]")
    return tuple(map(Check.from_dict, checks))


def facts_of(blessing: Artifact) -> ReleaseFacts | None:
    """Returns the facts that `write` wrote, if it got any; raises ValueError for other ones."""
    facts = json.loads(blessing.get_string_custom_property(FACTS) or "{}")
    return TypeAdapter(ReleaseFacts).validate_python(facts) if facts else None
