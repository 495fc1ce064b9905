"""The result of the release gate without a run, which `gate check --json` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.gate.check import Check, passed
from components.gate.evidence import Evidence

RUN_ID = "gate check"  # in the decision log


@dataclasses.dataclass(frozen=True)
class JudgedModel:
    """What was put before the gate.

    Attributes:
      path: of a SavedModel, or of a file of predictions.
      signature: the one that was asked; None for predictions.
      takes: the input of a model, such as "image files"; None for predictions.
    """

    path: str
    digest: str
    signature: str | None = None
    takes: str | None = None


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The gate's decision on `model`.

    Attributes:
      dataset: name, digest of the source (both None where the gate knows none), and rows and digest
        of the test split.
      log: the file in which the decision was written down.
      left_out: the checks that could not be made, each with its reason.
    """

    dataset: Mapping[str, Any]
    model: JudgedModel
    baseline: JudgedModel | None
    evidence: Evidence
    checks: tuple[Check, ...]
    log: str
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return passed(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Returns the object that docs/gate-check.md describes, see `result.json_able`."""
        return {
            "decision": "passed" if self.passed else "refused",
            "checks": [check.to_dict() for check in self.checks],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out],
            "metrics": self.evidence.metrics,
            "dataset": self.dataset,
            "model": dataclasses.asdict(self.model),
            "baseline": self.baseline and dataclasses.asdict(self.baseline),
            "log": self.log,
        }
