"""Which components are gates."""

from __future__ import annotations

from collections.abc import Mapping

# In the order in which a run meets them, with the output that says yes or no. The Evaluator's
# blessing is not the last word: ReleaseGate gives that.
GATES: Mapping[str, str] = {
    "DataGate": "blessing",
    "ReleaseGate": "blessing",
    "ServingCheck": "infra_blessing",
}
