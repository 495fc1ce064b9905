"""The release decision in a run: one list of checks, and a blessing when all of them passed.

A refusal is a result and no error: the blessing is negative and holds every check, and no component
behind it publishes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components import blessing as blessings
from components import pictures, serving_dir
from components.baseline_model import VERSION_PROPERTY
from components.evaluation import slice_extractor
from components.evaluation.eval_config import Evaluation
from components.evaluation.shown_mistakes import shown_mistakes
from components.example_gen import examples_summary
from components.example_gen.image_set import TEST
from components.example_gen.images import digest_split
from components.gate.decide import decide
from components.gate.evidence import Case, Evidence, Provenance
from components.gate.policy import Policy
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from trainer.host.strict_json import require_object

_log = logging.getLogger(__name__)


class Contradiction(Exception):
    """This run's policy and baseline cannot have given the evaluation: nothing may be released."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"{difference}: nothing is released on a contradiction; please report it")


def require_own_evaluation(
    evidence: Evidence, policy: Policy, *, blessed: bool, compared: bool
) -> None:
    """Raises `Contradiction` if this run's policy and baseline cannot have given the evaluation.

    A model that the Evaluator did not bless fails the floor's check too, because no lower bound of
    the accuracy lies above the accuracy.
    """
    if evidence.compared != compared:
        raise Contradiction(
            f"the Evaluator compared with {'a' if evidence.compared else 'no'} served model, but "
            f"there is {'one' if compared else 'none'}"
        )
    if not blessed and evidence.overall.accuracy >= policy.floor:
        raise Contradiction(
            f"the Evaluator did not bless the model, but its accuracy {evidence.overall.accuracy} "
            f"is not below the floor {policy.floor}"
        )
    for one in policy.slices:  # each example is in one of a feature's slices
        rows, whole = sum(evidence.slices[name].rows for name in one.names), evidence.overall.rows
        if rows != whole:
            raise Contradiction(
                f"the Evaluator found {rows:,} of {whole:,} test images in the slices of "
                f"{one.feature}, expected all of them (its module_path is "
                f"{slice_extractor.__name__})"
            )


class ReleaseGateExecutor(base_executor.BaseExecutor):
    """Decides, and writes the decision and its reasons on the blessing."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Raises `Contradiction`, or ServingDirError where the decision cannot be written down."""
        examples, model, evaluation_artifact, evaluator_blessing = (
            artifact_utils.get_single_instance(input_dict[key])
            for key in ("examples", "model", "evaluation", "evaluator_blessing")
        )
        served = _baseline(input_dict.get("baseline_model") or [])
        compared = serving_dir.Comparison(served, exec_properties["damage"] or None)
        policy = Policy.from_config(require_object("policy", exec_properties["policy"]))
        served_from = Path(exec_properties["serving_dir"])
        recorded = examples_summary.read(examples)
        evaluation = Evaluation(evaluation_artifact.uri)
        evidence = evaluation.evidence(recorded.class_names, policy.slices)
        blessed = blessings.is_blessed(evaluator_blessing)
        require_own_evaluation(evidence, policy, blessed=blessed, compared=served is not None)
        exported = Path(path_utils.serving_model_path(model.uri))
        model_digest = serving_dir.digest_of(exported)
        withdrawal = serving_dir.withdrawn_digests(served_from).get(model_digest)
        provenance = Provenance(
            split_rows=recorded.splits[TEST].rows,
            split_digest=digest_split(_test_split(examples), recorded.image_spec),
            recorded_digest=recorded.splits[TEST].digest,
            evaluated_model=evaluation.model_location(),
            exported_model=str(exported),
            withdrawn=str(withdrawal) if withdrawal else None,
        )
        decision = Decision(
            test_digest=provenance.split_digest,
            model_digest=model_digest,
            baseline_digest=served.model_digest if served else None,
            policy_digest=policy.digest,
        )
        shown = shown_mistakes(_test_split(examples), evaluation.mistakes(), recorded.image_spec)
        reference = evaluation.reference(len(recorded.class_names))
        # All inputs have been read by now: an error above uses no decision up.
        run_id = (self._context and self._context.pipeline_run_id) or ""
        number, lost = register(served_from, decision, run_id=run_id)
        made = decide(Case(evidence, policy, provenance, number, compared.damage, lost))
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        facts = blessings.ReleaseFacts(evidence, model_digest, compared, reference)
        released = blessings.write(blessing, made, facts=facts)
        pictures.write(shown, Path(blessing.uri))
        _log.info("%s: %s", "passed" if released else "refused", [c.sentence for c in made])


def _test_split(examples: Any) -> str:
    return str(artifact_utils.get_split_uri([examples], TEST))


def _baseline(served: Sequence[Any]) -> serving_dir.Baseline | None:
    if not served:
        return None
    return serving_dir.Baseline(
        version=served[0].get_int_custom_property(VERSION_PROPERTY),
        model_digest=serving_dir.digest_of(Path(path_utils.serving_model_path(served[0].uri))),
    )


class ReleaseGateSpec(ComponentSpec):
    """Parameters, inputs and output of `ReleaseGate`."""

    PARAMETERS: ClassVar[dict[str, Any]] = dict.fromkeys(
        ("policy", "serving_dir", "damage"), ExecutionParameter(type=str)
    )
    INPUTS: ClassVar[dict[str, Any]] = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "evaluator_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class ReleaseGate(base_component.BaseComponent):
    """Blesses a model that holds the whole policy.

    Args:
      damage: why the served model cannot be read; None where it can.
      inputs: those of `ReleaseGateSpec`. The examples have the custom property `dataset`;
        `baseline_model` is what the Evaluator was given, and may hold no artifact.

    Output `blessing`: it holds the checks and, as facts, the evidence, the digest of the candidate,
    and the baseline. Beside them lie the pictures of its mistakes.
    """

    SPEC_CLASS = ReleaseGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReleaseGateExecutor)

    def __init__(
        self, *, policy: Policy, serving_dir: str, damage: str | None, **inputs: Any
    ) -> None:
        spec = ReleaseGateSpec(
            **inputs,
            policy=json.dumps(policy.to_config(), sort_keys=True),
            serving_dir=serving_dir,
            damage=damage or "",
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
