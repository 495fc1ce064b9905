"""Publishes a blessed model to the serving directory: the TFX shell around `serving_dir.publish`.

If that directory has changed since the release gate decided, the component raises an error: TFX
would cache a result, and a later run would take it over.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_constants

from components import blessing as blessings
from components.blessing import ReleaseFacts
from components.example_gen import examples_summary
from components.gate.check import Check, GateRefused
from components.model_card import documents
from components.model_card.subject import Subject
from components.serving_dir import Decided, Pending, Published, StaleDecision, publish
from components.serving_dir import hold as hold_model
from components.signing import require_keys, signer, truster
from trainer.host.strict_json import require_object
from trainer.tuning.results import read_best, replaced

# Custom properties of the PushedModel artifact.
PUSHED = "pushed"  # int: 1 when the model is in the serving directory now, 0 when it was refused
REASON = "reason"  # string: why it was refused, or why there is no new version; else empty
VERSION = "version"  # int, as CREATED only when pushed
PATH = "path"  # string: the version's directory, or that of the model that waits
CREATED = "created"  # int: 0 when the model was the newest version already
HELD = "held"  # string: the run whose model waits for approval; else empty

CURRENT = "integrity.current"  # the check that a stale decision fails

_log = logging.getLogger(__name__)


@component
def AtomicPusher(
    model: InputArtifact[standard_artifacts.Model],
    examples: InputArtifact[standard_artifacts.Examples],
    data_blessing: InputArtifact[standard_artifacts.ExampleAnomalies],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    serving_dir: Parameter[str],
    release: Parameter[str],
    hyperparameters: InputArtifact[standard_artifacts.HyperParameters] = None,
    signing_key: Parameter[str] = "",
    public_key: Parameter[str] = "",
    hold: Parameter[str] = "",
) -> None:
    """Publishes a blessed model as the next version, atomically; a model not blessed, never.

    Args:
        examples: with the custom property `dataset`, for the release record.
        release: JSON object for the version's manifest. It is part of TFX's cache key: what differs
            in every run, such as a time, makes every run publish.
        hyperparameters: what a search has found, which replaces values of `training` in `release`.
        signing_key, public_key: paths of the keys, see `components.signing`; empty for none.
        hold: the id of this run if the model is to wait for approval instead of being published.
            It differs in every run, so that no earlier result is taken over from the cache: what
            waited then may be decided now.

    Raises:
        GateRefused: the gate's decision is out of date; nothing was published.
        KeyRefused: what is signed would not be trusted.
        ServingDirError: nothing could be published.
    """
    given = {"data_blessing": data_blessing, "model_blessing": model_blessing}
    given["infra_blessing"] = infra_blessing
    refused = [name for name, one in given.items() if not blessings.is_blessed(one)]
    if refused:
        _log.warning("%s is not published: refused by %s", model.uri, ", ".join(refused))
        pushed_model.set_int_custom_property(PUSHED, 0)
        pushed_model.set_string_custom_property(REASON, f"refused by {refused[0]}")
        return
    facts = blessings.facts_of(model_blessing)
    if facts is None:
        raise ValueError(
            f"the model_blessing in {model_blessing.uri} does not say what the model was released "
            "on, expected that of ReleaseGate"
        )
    checks = [check for one in given.values() for check in blessings.checks_of(one)]
    record = _release_record(require_object("release", release), examples, facts, checks)
    if hyperparameters is not None:
        record["training"] = replaced(record["training"], read_best(Path(hyperparameters.uri)))
    what = Path(model.uri) / path_constants.SERVING_MODEL_DIR, Path(serving_dir), record
    require_keys(signing_key, public_key)  # they may have been exchanged since the run began
    alike: dict[str, Any] = {
        "decided": Decided(facts.model_digest, facts.compared),
        "documents": documents(Subject(record, facts.evidence, facts.model_digest)),
        "sign": signer(Path(signing_key)) if signing_key else None,
        "trust": truster(Path(public_key)) if public_key else None,
    }
    try:
        done: Published | Pending
        done = hold_model(*what, run_id=hold, **alike) if hold else publish(*what, **alike)
    except StaleDecision as stale:
        raise GateRefused([*checks, Check(CURRENT, False, None, None, str(stale))]) from stale
    _say(done, pushed_model)


def _say(done: Published | Pending, pushed_model: Any) -> None:
    pushed_model.set_string_custom_property(PATH, str(done.path))
    if isinstance(done, Pending):
        pushed_model.set_int_custom_property(PUSHED, 0)
        pushed_model.set_string_custom_property(REASON, "it waits for approval")
        pushed_model.set_string_custom_property(HELD, done.run_id)
        return
    unchanged = f"the model is version {done.version} already"
    pushed_model.set_int_custom_property(PUSHED, 1)
    pushed_model.set_string_custom_property(REASON, "" if done.created else unchanged)
    pushed_model.set_int_custom_property(VERSION, done.version)
    pushed_model.set_int_custom_property(CREATED, int(done.created))


def _release_record(
    release: Mapping[str, Any], examples: Any, facts: ReleaseFacts, checks: Sequence[Check]
) -> dict[str, Any]:
    baseline = facts.compared.baseline
    described = examples.get_string_custom_property(examples_summary.PROPERTY)
    return {
        **release,
        "dataset": json.loads(described or "null"),
        "checks": [check.to_dict() for check in checks],
        "metrics": facts.evidence.metrics,
        **({"reference": facts.reference.to_json()} if facts.reference else {}),
        "baseline": baseline.to_json() if baseline else None,
    }
