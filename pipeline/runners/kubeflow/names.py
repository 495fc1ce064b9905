"""Names that the compiled pipeline, its containers and the commands share."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.result import ExitCode
from pipeline.runners.failures import CannotStart

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


@dataclass(frozen=True)
class Parameter:
    """A value of the compiled pipeline that a run may replace; `key` is the configuration's.

    Attributes:
      help: one line, which the backend's UI shows.
      optional: whether "" means the value of the preset or of the data set.
    """

    key: str
    kind: type
    help: str
    optional: bool = False


PARAMETERS: Mapping[str, Parameter] = {
    "dataset": Parameter("dataset", str, "what --dataset takes"),
    "preset": Parameter("preset", str, "where the values start"),
    "seed": Parameter("seed", int, "of weights, order and augmentation"),
    "epochs": Parameter("training.epochs", str, "empty: the preset's", optional=True),
    "floor": Parameter("gate.floor", str, "of the gate; empty: the data set's", optional=True),
}


def refusal_of(gate: str) -> str:
    """Returns the input parameter by which a task behind a gate gets the gate's `REFUSAL`."""
    return f"{REFUSAL}_{gate}"


def task_id(name: str) -> str:
    """Returns a task's id as kfp's compiler writes it: "example-gen" for "ExampleGen"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def task_name(id_: str) -> str:
    """Returns the task with this id, see `task_id`."""
    return id_.title().replace("-", "")


def require_kfp() -> None:
    """Raises CannotStart if kfp is missing; called before anything heavy is imported."""
    if importlib.util.find_spec("kfp") is None:
        raise CannotStart(
            "kfp is not installed, expected it for `tfx-mnist kubeflow`: pip install '.[kubeflow]' "
            "in the checkout",
            ExitCode.FAILED,
        )
