"""What a gate leaves on the artifact that says yes or no: the answer, and the checks behind it.

    write(blessing, checks)             # in the component that decides
    is_blessed(blessing)                # in the one that acts on it
    checks_of(blessing)                 # for whoever shows why

The form is TFX's own (tfx/components/evaluator/constants.py, infra_validator/executor.py): the
custom property `blessed`, 1 or 0, and a file. The checks stand in `checks.json` and, where
ML Metadata is at hand but the files are not, in the custom property `checks`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from pipeline import gate
from pipeline.gate import Check

BLESSED = "blessed"  # custom property: 1 or 0
CHECKS = "checks"  # custom property: JSON list of `Check.to_dict()`
CHECKS_FILE = "checks.json"  # the same list

# (yes, no) by what the artifact's type judges.
_FILES = {"InfraBlessing": ("INFRA_BLESSED", "INFRA_NOT_BLESSED")}
_MODEL_FILES = ("BLESSED", "NOT_BLESSED")


def write(blessing: Artifact, checks: Sequence[Check]) -> bool:
    """Writes the checks, and blesses exactly when all of them passed (and there are any).

    Args:
      blessing: a ModelBlessing, InfraBlessing or any other output artifact.

    Returns:
      Whether it is blessed.
    """
    blessed = gate.passed(checks)
    content = json.dumps([check.to_dict() for check in checks])
    io_utils.write_string_file(str(Path(blessing.uri) / CHECKS_FILE), content)
    yes, no = _FILES.get(blessing.type_name, _MODEL_FILES)
    io_utils.write_string_file(str(Path(blessing.uri) / (yes if blessed else no)), "")
    blessing.set_string_custom_property(CHECKS, content)
    blessing.set_int_custom_property(BLESSED, int(blessed))
    return blessed


def is_blessed(blessing: Artifact) -> bool:
    """Tells whether a blessing says yes.

    Its custom property decides; where an orchestrator lost that, the file that was written.
    """
    if blessing.has_custom_property(BLESSED):
        return bool(blessing.get_int_custom_property(BLESSED) == 1)
    yes, _ = _FILES.get(blessing.type_name, _MODEL_FILES)
    return (Path(blessing.uri) / yes).is_file()


def checks_of(blessing: Artifact) -> tuple[Check, ...]:
    """The checks that `write` wrote; none where another component blessed."""
    content = blessing.get_string_custom_property(CHECKS)
    if not content:
        path = Path(blessing.uri) / CHECKS_FILE
        content = path.read_text() if path.is_file() else "[]"
    return tuple(Check.from_dict(check) for check in json.loads(content))
