"""The release decision: one list of checks, and a blessing when all of them passed.

The Evaluator has made those checks that TFMA can make, as thresholds. `ReleaseGate` stands behind
it: it makes the whole list from the Evaluator's counts (`components.gate.decide`), adds what no
evaluation knows (whose test split and whose model that was, how often the test set has been used,
what was withdrawn), and holds both decisions against each other::

    release_gate = ReleaseGate(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=served_model.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        evaluator_blessing=evaluator.outputs["blessing"],
        policy=policy,
        serving_dir="serving",
        damage=context.damage,
        code=digest,
    )
    pusher = AtomicPusher(..., model_blessing=release_gate.outputs["blessing"])

A refusal is an answer and no error: the blessing says no, with every check, and nothing behind it
publishes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.channel import Channel
from tfx.utils import path_utils

from components import blessing as blessings
from components import serving_dir
from components.evaluation import eval_config as evaluations
from components.example_gen import summary
from components.example_gen.split import digest_split
from components.gate import check, decide
from components.gate.decision_log import Decision, policy_digest, register
from components.gate.evidence import Evidence, Provenance
from components.gate.policy import Policy
from components.served_model import VERSION_PROPERTY

EXAMPLES = "examples"
MODEL = "model"
BASELINE_MODEL = "baseline_model"
EVALUATION = "evaluation"
EVALUATOR_BLESSING = "evaluator_blessing"
BLESSING = "blessing"

# Facts of the blessing, see `components.blessing`. The last two are what was decided on.
EVIDENCE = "evidence"  # `components.gate.evidence.Evidence.to_dict()`
MODEL_DIGEST = "model_digest"  # of the candidate's SavedModel
COMPARED = "compared"  # `serving_dir.Comparison.to_json()`

_log = logging.getLogger(__name__)


class Contradiction(Exception):
    """The Evaluator's blessing is not what the policy's checks say."""


def require_agreement(evidence: Evidence, policy: Policy, *, blessed: bool, compared: bool) -> None:
    """Holds the Evaluator's decision against the policy's, where both can make it.

    Args:
      evidence: what the Evaluator counted.
      policy: the one that its thresholds were made from.
      blessed: its decision.
      compared: whether there was a served model to compare with.

    Raises:
      Contradiction: they differ: nothing may be released on that.
    """
    if evidence.compared != compared:
        raise Contradiction(
            f"the Evaluator compared with {'a' if evidence.compared else 'no'} served model, but "
            f"there is {'one' if compared else 'none'}: nothing is released on a contradiction; "
            "please report it"
        )
    made = decide.measured_checks(evidence, policy)
    if check.passed(made) != blessed:
        failed = sum(not check.passed for check in made)
        raise Contradiction(
            f"the Evaluator {'blessed' if blessed else 'did not bless'} the model, but {failed} of "
            f"the {len(made)} checks that it makes failed: nothing is released on a contradiction; "
            "please report it"
        )


class ReleaseGateExecutor(base_executor.BaseExecutor):
    """Decides, and says on the blessing what was decided and why."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `ReleaseGate`.

        Raises:
          Contradiction: the Evaluator decided otherwise.
          decision_log.DecisionLogError: the decision cannot be written down.
        """
        examples, model, evaluation, evaluator_blessing = (
            artifact_utils.get_single_instance(input_dict[key])
            for key in (EXAMPLES, MODEL, EVALUATION, EVALUATOR_BLESSING)
        )
        served = input_dict.get(BASELINE_MODEL) or []
        compared = serving_dir.Comparison(_baseline(served), exec_properties["damage"] or None)
        policy = Policy.from_config(json.loads(exec_properties["policy"]))
        served_from = Path(exec_properties["serving_dir"])
        recorded = summary.read(examples)
        evidence = evaluations.read_evidence(evaluation.uri, recorded.class_names, policy.slices)
        require_agreement(
            evidence,
            policy,
            blessed=blessings.is_blessed(evaluator_blessing),
            compared=bool(served),
        )
        exported = Path(path_utils.serving_model_path(model.uri))
        model_digest = serving_dir.digest_of(exported)
        provenance = _provenance(
            examples,
            recorded,
            evaluated=evaluations.model_location(evaluation.uri),
            exported=exported,
            withdrawn=_withdrawal(served_from, model_digest),
        )
        # All that can fail has been read by now: what cannot be decided uses no decision up.
        number = register(
            served_from,
            Decision(
                test_digest=provenance.split_digest,
                model_digest=model_digest,
                baseline_digest=compared.baseline.model_digest if compared.baseline else None,
                policy_digest=policy_digest(policy),
            ),
            run_id=str(self._context.pipeline_run_id) if self._context else "",
        )
        made = decide.decide(
            evidence, policy, provenance=provenance, decision=number, damage=compared.damage
        )
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING])
        facts = {
            EVIDENCE: evidence.to_dict(),
            MODEL_DIGEST: model_digest,
            COMPARED: compared.to_json(),
        }
        blessed = blessings.write(blessing, made, facts=facts)
        _log.info("%s: %s", "passed" if blessed else "refused", [c.sentence for c in made])


def _provenance(
    examples: Any,
    recorded: summary.ExamplesSummary,
    *,
    evaluated: str,
    exported: Path,
    withdrawn: str | None,
) -> Provenance:
    """Reads the whole test split, for its digest."""
    test = recorded.splits[evaluations.TEST_SPLIT]
    _, digest = digest_split(
        _files(examples, evaluations.TEST_SPLIT), image_shape=recorded.image_shape
    )
    return Provenance(
        split_rows=test.rows,
        split_digest=digest,
        recorded_digest=test.digest,
        evaluated_model=evaluated,
        exported_model=str(exported),
        withdrawn=withdrawn,
    )


def _withdrawal(directory: Path, model_digest: str) -> str | None:
    withdrawal = serving_dir.withdrawn_digests(directory).get(model_digest)
    return None if withdrawal is None else str(withdrawal)


def _files(examples: Any, split: str) -> Sequence[str]:
    return sorted(tf.io.gfile.glob(f"{artifact_utils.get_split_uri([examples], split)}/*"))


def _baseline(served: Sequence[Any]) -> serving_dir.Baseline | None:
    if not served:
        return None
    return serving_dir.Baseline(
        version=served[0].get_int_custom_property(VERSION_PROPERTY),
        model_digest=serving_dir.digest_of(Path(path_utils.serving_model_path(served[0].uri))),
    )


class ReleaseGateSpec(component_spec.ComponentSpec):
    """Parameters, inputs and output of `ReleaseGate`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "policy": component_spec.ExecutionParameter(type=str),
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "damage": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        BASELINE_MODEL: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        EVALUATOR_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class ReleaseGate(base_component.BaseComponent):
    """Blesses a model that holds the whole policy.

    Args:
      examples: with the custom property `dataset`.
      model: the candidate.
      baseline_model: what is served, as the Evaluator was given it; may hold no artifact.
      evaluation: the Evaluator's counts.
      evaluator_blessing: the Evaluator's own decision.
      policy: the thresholds.
      serving_dir: where the decision is written down, and what was withdrawn is read.
      damage: why what is served cannot be read; None where it can.
      code: a digest of the code that decides; changes the cache key.

    Output `blessing`: a ModelBlessing that holds the checks and, as facts, the evidence, the
    digest of the model that was decided on, and what that was compared with.
    """

    SPEC_CLASS = ReleaseGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReleaseGateExecutor)

    def __init__(
        self,
        *,
        examples: Any,
        model: Any,
        baseline_model: Any,
        evaluation: Any,
        evaluator_blessing: Any,
        policy: Policy,
        serving_dir: str,
        damage: str | None,
        code: str,
    ) -> None:
        spec = ReleaseGateSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            evaluation=evaluation,
            evaluator_blessing=evaluator_blessing,
            policy=json.dumps(policy.to_config(), sort_keys=True),
            serving_dir=serving_dir,
            damage=damage or "",
            code=code,
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
