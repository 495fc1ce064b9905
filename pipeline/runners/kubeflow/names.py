"""Names that the compiled pipeline and its containers share."""

from __future__ import annotations

PIPELINE_NAME = "tfx-mnist"

# Tasks that are no nodes of the graph.
PLAN = "Plan"
BASELINE = "Baseline"

TRAINER = "Trainer"
TUNER = "Tuner"

# Parameters of tasks.
EXEC_PROPERTIES = "exec_properties"
DATASET_INFO = "dataset_info"
MODEL_DIGEST = "model_digest"
SETTINGS = "settings"
REFUSAL = "refusal"

# In the environment of every container.
RUN_ID_VARIABLE = "KFP_RUN_ID"

# States of a run or a task that ended badly (run.proto, RuntimeState).
FAILED_STATES = ("FAILED", "CANCELED")


def refusal_of(gate: str) -> str:
    """The input parameter in which a task behind a gate gets that gate's `REFUSAL`."""
    return f"{REFUSAL}_{gate}"
