"""Serves the exported model once before it ships: the TFX shell around `verdict`.

    serving_check = ServingCheck(model=trainer.outputs["model"], ..., max_p99_latency_ms=250.0)
    serving_check.outputs["infra_blessing"]

It replaces TFX's InfraValidator, which needs Docker or Kubernetes and cannot be compiled for
Kubeflow.
"""

import functools
import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components import blessing as blessings
from components.evaluation.eval_config import Evaluation
from components.example_gen import examples_summary
from components.example_gen.image_set import TEST
from components.serving_check.asked_images import read_sample
from components.serving_check.contract import Timeouts
from components.serving_check.model_server import find_model_server
from components.serving_check.questions import Bounds
from components.serving_check.servers import serve
from components.serving_check.verdict import check_served

_log = logging.getLogger(__name__)


@component
def ServingCheck(
    model: InputArtifact[standard_artifacts.Model],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    examples: InputArtifact[standard_artifacts.Examples],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    infra_blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    max_p99_latency_ms: Parameter[float],
    max_memory_mib: Parameter[float],
    model_server: Parameter[str] = "",
) -> None:
    """Blesses a model if a fresh server process loads it and serves it as documented.

    A model that another gate refused is not served, and not blessed, without any check.

    Args:
      examples: with the split `test` and the custom property `dataset`.
      evaluation: with a sample of predictions, see `gate_metrics`.
      max_p99_latency_ms: of requests for one image.
      model_server: path of tensorflow_model_server; if empty, see `find_model_server`.

    Raises:
      FileNotFoundError: there is no server at `model_server`.
      NotChecked: the checks could not be made, for a reason that says nothing about the model.
    """
    if not blessings.is_blessed(blessing):
        _log.warning("%s is refused already: not served", model.uri)
        blessings.write(infra_blessing, ())
        return
    server = find_model_server(model_server)
    dataset = examples_summary.read(examples)
    sample = read_sample(
        artifact_utils.get_split_uri([examples], TEST),
        Evaluation(evaluation.uri).sampled_predictions(),
        dataset.image_spec,
    )
    checks = check_served(
        functools.partial(serve, model_server=server, timeouts=Timeouts()),
        Path(path_utils.serving_model_path(model.uri)),
        sample,
        Bounds(max_p99_latency_ms, max_memory_mib),
    )
    blessings.write(infra_blessing, checks)
