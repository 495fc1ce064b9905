"""Publishes a blessed model to the serving directory: the TFX shell around `serving_dir.publish`.

TFX's own Pusher copies file by file into the live directory, names it after the clock's second, and
pushes with a mere warning when no blessing is wired. This one publishes a blessed model atomically,
and nothing else ever::

    pusher = AtomicPusher(
        model=trainer.outputs["model"],
        data_blessing=data_gate.outputs["blessing"],
        model_blessing=release_gate.outputs["blessing"],
        infra_blessing=serving_check.outputs["infra_blessing"],
        examples=example_gen.outputs["examples"],
        serving_dir="serving",
        release={"run_key": "9f2c", "release_token": context.token},
    )

What the release gate decided on, and compared with what, stands in its blessing. `publish` holds
that against the serving directory under the directory's lock. Where it does not hold any more, this
component says no by an error, so that TFX keeps no result that a later run would take over.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.channel import Channel
from tfx.utils import path_constants

from components import blessing as blessings
from components.evaluation import release_gate
from components.example_gen import summary
from components.gate.check import Check, Refused
from components.gate.evidence import Evidence
from components.serving_dir import Comparison, Decided, StaleDecision, publish
from components.tuner.results import read_best

MODEL = "model"
EXAMPLES = "examples"
HYPERPARAMETERS = "hyperparameters"
DATA_BLESSING = "data_blessing"
MODEL_BLESSING = "model_blessing"
INFRA_BLESSING = "infra_blessing"
PUSHED_MODEL = "pushed_model"

# All of them must say yes. In the order in which they were given.
_BLESSINGS = (DATA_BLESSING, MODEL_BLESSING, INFRA_BLESSING)

# Custom properties of the PushedModel artifact.
PUSHED = "pushed"  # int: 1 when the model is in the serving directory now, 0 when it was refused
REASON = "reason"  # string: why it was refused, or why there is no new version; else empty
VERSION = "version"  # int, as the two below only when pushed
PATH = "path"  # string: the version's directory
CREATED = "created"  # int: 0 when the model was the newest version already

CURRENT = "integrity.current"  # the check that a stale decision fails

_log = logging.getLogger(__name__)


def release_record(
    release: Mapping[str, Any],
    *,
    run_id: str | None,
    examples: Any,
    given: Sequence[Any],
    found: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    """Completes the release record with what is known only now.

    That is the run, the data set, the metrics, the checks, and what the model was compared with.

    Args:
        release: what was known when the graph was built.
        run_id: TFX's id of this run.
        examples: Examples artifact with the custom property `dataset`.
        given: the blessings.
        found: what a search replaced of the hyper-parameters in `training`; None without a search.
    """
    record: dict[str, object] = {"run_id": run_id, **release}
    if found is not None:
        record["training"] = {**release["training"], **found}
    record["dataset"] = json.loads(examples.get_string_custom_property(summary.PROPERTY) or "null")
    record["checks"] = [check.to_dict() for check in _checks(given)]
    for facts in map(blessings.facts_of, given):
        if release_gate.EVIDENCE in facts:
            record["metrics"] = Evidence.from_dict(facts[release_gate.EVIDENCE]).metrics
            record["baseline"] = facts[release_gate.COMPARED]["baseline"]
    return record


def _checks(given: Sequence[Any]) -> list[Check]:
    return [check for one in given for check in blessings.checks_of(one)]


class AtomicPusherExecutor(base_executor.BaseExecutor):
    """Publishes the model if every blessing says yes, and says on the output what it did."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `AtomicPusher`.

        Raises:
          Refused: what was decided does not hold any more; nothing was published.
          ServingDirError: nothing could be published.
        """
        pushed = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL])
        model = artifact_utils.get_single_instance(input_dict[MODEL])
        given = {name: artifact_utils.get_single_instance(input_dict[name]) for name in _BLESSINGS}
        refused = [name for name, one in given.items() if not blessings.is_blessed(one)]
        if refused:
            _log.warning("%s: no by %s: not published", model.uri, ", ".join(refused))
            pushed.set_int_custom_property(PUSHED, 0)
            pushed.set_string_custom_property(REASON, f"{refused[0]} says no")
            return
        try:
            published = publish(
                Path(model.uri) / path_constants.SERVING_MODEL_DIR,
                Path(exec_properties["serving_dir"]),
                release_record(
                    json.loads(exec_properties["release"]),
                    run_id=self._context.pipeline_run_id if self._context else None,
                    examples=artifact_utils.get_single_instance(input_dict[EXAMPLES]),
                    given=list(given.values()),
                    found=_found(input_dict.get(HYPERPARAMETERS)),
                ),
                decided=_decided(blessings.facts_of(given[MODEL_BLESSING])),
            )
        except StaleDecision as stale:
            current = Check(CURRENT, False, None, None, str(stale))
            raise Refused([*_checks(list(given.values())), current]) from stale
        unchanged = f"the model is version {published.version} already"
        pushed.set_int_custom_property(PUSHED, 1)
        pushed.set_string_custom_property(REASON, "" if published.created else unchanged)
        pushed.set_int_custom_property(VERSION, published.version)
        pushed.set_string_custom_property(PATH, str(published.path))
        pushed.set_int_custom_property(CREATED, int(published.created))


def _found(hyperparameters: Sequence[Any] | None) -> dict[str, Any] | None:
    if not hyperparameters:
        return None
    return read_best(Path(artifact_utils.get_single_uri(list(hyperparameters))))


def _decided(facts: Mapping[str, Any]) -> Decided:
    """What the release gate decided on."""
    return Decided(
        facts[release_gate.MODEL_DIGEST], Comparison.from_json(facts[release_gate.COMPARED])
    )


class AtomicPusherSpec(component_spec.ComponentSpec):
    """Parameters, inputs and output of `AtomicPusher`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "release": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        HYPERPARAMETERS: component_spec.ChannelParameter(
            type=standard_artifacts.HyperParameters, optional=True
        ),
        DATA_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        MODEL_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        INFRA_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        PUSHED_MODEL: component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class AtomicPusher(base_component.BaseComponent):
    """Publishes a blessed model as the next version, atomically; a model not blessed, never.

    Args:
        model: the candidate.
        examples: the data, for `dataset` in the release record.
        hyperparameters: what a search has found, for `training` there; None without a search.
        data_blessing: DataGate's verdict.
        model_blessing: ReleaseGate's verdict.
        infra_blessing: ServingCheck's verdict.
        serving_dir: the directory that TensorFlow Serving watches.
        release: JSON object for the version's manifest. It is part of TFX's cache key: what differs
            in every run, such as a time, makes every run publish.
        code: a digest of the code that publishes; changes the cache key.

    Output `pushed_model`: a PushedModel artifact with the custom properties `pushed`, `reason`, and
    if pushed `version`, `path` and `created`.

    Raises:
        ValueError: a blessing is not wired.
    """

    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AtomicPusherExecutor)

    def __init__(
        self,
        *,
        model: Any,
        examples: Any,
        data_blessing: Any,
        model_blessing: Any,
        infra_blessing: Any,
        serving_dir: str,
        release: Mapping[str, object],
        hyperparameters: Any = None,
        code: str = "",
    ) -> None:
        given = dict(zip(_BLESSINGS, (data_blessing, model_blessing, infra_blessing), strict=True))
        missing = [name for name, channel in given.items() if channel is None]
        if missing:
            raise ValueError(
                f"AtomicPusher got {missing[0]}=None, expected that gate's output 'blessing': a "
                "model is published only with every blessing"
            )
        spec = AtomicPusherSpec(
            model=model,
            examples=examples,
            hyperparameters=hyperparameters,
            **given,
            serving_dir=serving_dir,
            release=json.dumps(dict(release), sort_keys=True, allow_nan=False),
            code=code,
            pushed_model=Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
