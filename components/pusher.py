"""Publishes a blessed model to the serving directory: the TFX shell around `serving_dir.publish`.

TFX's own Pusher copies file by file into the live directory, names it after the clock's second, and
pushes with a mere warning when no blessing is wired. This one publishes a blessed model atomically,
and nothing else ever::

    pusher = AtomicPusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        examples=example_gen.outputs["examples"],
        evaluation=evaluator.outputs["evaluation"],
        serving_dir="serving",
        release={"run_key": "9f2c", "release_token": context.token, "baseline": None},
    )
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.channel import Channel
from tfx.utils import path_constants

from components.blessing import is_blessed
from components.serving_dir import publish

MODEL = "model"
BLESSING = "model_blessing"
EXAMPLES = "examples"
EVALUATION = "evaluation"
PUSHED_MODEL = "pushed_model"

# Custom properties of the PushedModel artifact.
PUSHED = "pushed"  # int: 1 when the model is in the serving directory now, 0 when it was refused
REASON = "reason"  # string: why it was refused, or why there is no new version; else empty
VERSION = "version"  # int, as the two below only when pushed
PATH = "path"  # string: the version's directory
CREATED = "created"  # int: 0 when the model was the newest version already

_log = logging.getLogger(__name__)


def release_record(
    release: Mapping[str, object],
    *,
    run_id: str | None,
    examples: Any | None,
    evaluation: Any | None,
) -> dict[str, object]:
    """Completes the release record with what is known only now: run, data set and metrics.

    Args:
        release: what was known when the graph was built.
        run_id: TFX's id of this run.
        examples: Examples artifact whose custom property `dataset` is the data set's JSON.
        evaluation: ModelEvaluation artifact.
    """
    record: dict[str, object] = {"run_id": run_id, **release}
    if examples is not None:
        record["dataset"] = json.loads(examples.get_string_custom_property("dataset") or "null")
    if evaluation is not None:
        # Here, since it imports TensorFlow Model Analysis, which takes seconds.
        from components.evaluation import read_metrics

        record["metrics"] = read_metrics(evaluation.uri)
    return record


class AtomicPusherExecutor(base_executor.BaseExecutor):
    """Publishes the model if it is blessed, and says on the output what it did."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `AtomicPusher`."""
        pushed = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL])
        model = artifact_utils.get_single_instance(input_dict[MODEL])
        blessing = artifact_utils.get_single_instance(input_dict[BLESSING])
        if not is_blessed(blessing):
            _log.warning("%s is not blessed by %s: not published", model.uri, blessing.uri)
            pushed.set_int_custom_property(PUSHED, 0)
            pushed.set_string_custom_property(REASON, "the evaluation did not bless the model")
            return
        published = publish(
            Path(model.uri) / path_constants.SERVING_MODEL_DIR,
            Path(exec_properties["serving_dir"]),
            release_record(
                json.loads(exec_properties["release"]),
                run_id=self._context.pipeline_run_id if self._context else None,
                examples=_at_most_one(input_dict, EXAMPLES),
                evaluation=_at_most_one(input_dict, EVALUATION),
            ),
        )
        unchanged = f"the model is version {published.version} already"
        pushed.set_int_custom_property(PUSHED, 1)
        pushed.set_string_custom_property(REASON, "" if published.created else unchanged)
        pushed.set_int_custom_property(VERSION, published.version)
        pushed.set_string_custom_property(PATH, str(published.path))
        pushed.set_int_custom_property(CREATED, int(published.created))


def _at_most_one(input_dict: Mapping[str, list[Any]], key: str) -> Any | None:
    artifacts = input_dict.get(key)
    return artifact_utils.get_single_instance(artifacts) if artifacts else None


class AtomicPusherSpec(component_spec.ComponentSpec):
    """Parameters, inputs and output of `AtomicPusher`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "release": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        EVALUATION: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        PUSHED_MODEL: component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class AtomicPusher(base_component.BaseComponent):
    """Publishes a blessed model as the next version, atomically; a model not blessed, never.

    Args:
        model: the candidate.
        model_blessing: the Evaluator's verdict; there is no publishing without one.
        serving_dir: the directory that TensorFlow Serving watches.
        release: JSON object for the version's manifest. It is part of TFX's cache key: what differs
            in every run, such as a time, makes every run publish.
        examples: the data, for `dataset` in the release record.
        evaluation: the evaluation, for `metrics` in the release record.

    Output `pushed_model`: a PushedModel artifact with the custom properties `pushed`, `reason`, and
    if pushed `version`, `path` and `created`.

    Raises:
        ValueError: no blessing is wired.
    """

    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AtomicPusherExecutor)

    def __init__(
        self,
        *,
        model: Any,
        model_blessing: Any,
        serving_dir: str,
        release: Mapping[str, object],
        examples: Any | None = None,
        evaluation: Any | None = None,
    ) -> None:
        if model_blessing is None:
            raise ValueError(
                "AtomicPusher got model_blessing=None, expected the Evaluator's output 'blessing': "
                "a model is published only with a blessing"
            )
        spec = AtomicPusherSpec(
            model=model,
            model_blessing=model_blessing,
            examples=examples,
            evaluation=evaluation,
            serving_dir=serving_dir,
            release=json.dumps(dict(release), sort_keys=True, allow_nan=False),
            pushed_model=Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
