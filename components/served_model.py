"""The baseline: what is being served now, as a TFX Model artifact for the Evaluator.

While the graph is built, `release_context` decides which version that is. The component
`ServedModel` then copies it, checked against its manifest, to where TFX expects a model; with
nothing served it has no output at all, and the Evaluator's optional baseline stays empty::

    context = release_context(Path("serving"), run_key="9f2c", fresh_token=uuid4().hex)
    served = ServedModel(serving_dir="serving", baseline=context.baseline)
    evaluator = Evaluator(..., baseline_model=served.outputs["model"])

Version and digest of the baseline are parameters, so that TFX's cache tells baselines apart.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.channel import Channel
from tfx.utils import path_constants

from components.serving_dir import (
    Baseline,
    ServingDirError,
    Version,
    compared_now,
    export_model,
    verify,
    versions,
)

MODEL = "model"
VERSION_PROPERTY = "version"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReleaseContext:
    """What a run is compared with, and a token that changes when it must be released anew.

    Attributes:
        baseline: the version to compare with; None with nothing to compare with.
        token: a text that differs between releases.
        recorded: whether both are an earlier run's, whose results are expected in the cache.
        damage: see `components.serving_dir.Comparison`.
    """

    baseline: Baseline | None
    token: str
    recorded: bool = False
    damage: str | None = None


def release_context(serving_dir: Path, run_key: str, fresh_token: str) -> ReleaseContext:
    """Decides on the baseline and on the token that goes into the release record.

    The baseline is the newest version that is valid and not withdrawn. When that very version is
    live and was released by a run of the same key, though, baseline and token are those of its own
    record: a second identical run then has the parameters of the first, and finds everything in
    TFX's cache, the publishing included. The run is compared and released anew where that version
    was deleted, where another one was published since, where the recorded baseline is gone, and
    where the highest version is damaged and has to be replaced.

    Args:
        serving_dir: the directory that TensorFlow Serving watches; it need not exist.
        run_key: digest of all that decides a run's outcome: data, code, configuration.
        fresh_token: a text never used before.
    """
    compared = compared_now(serving_dir)
    recorded = _recorded(serving_dir, compared.baseline, run_key)
    return recorded or ReleaseContext(compared.baseline, fresh_token, damage=compared.damage)


def _recorded(serving_dir: Path, baseline: Baseline | None, run_key: str) -> ReleaseContext | None:
    """Returns what a run of that key was compared with, where its model is live."""
    present = versions(serving_dir)
    if baseline is None or not present or present[-1].number != baseline.version:
        return None
    live = present[-1]
    if live.manifest is None or live.manifest.release.get("run_key") != run_key:
        return None
    recorded = _recorded_context(live.manifest.release)
    if recorded and (recorded.baseline is None or _find(present, recorded.baseline)):
        return recorded
    _log.info("the release of %s is not taken over: %s", live.path, recorded)
    return None


def _recorded_context(release: Mapping[str, object]) -> ReleaseContext | None:
    """What the run that made this record was compared with; None where the record has no token.

    The types are those that `components.serving_dir` checked when it read the record.
    """
    match release:
        case {"release_token": str(token), "baseline": None}:
            return ReleaseContext(baseline=None, token=token, recorded=True)
        case {
            "release_token": str(token),
            "baseline": {"version": int(version), "model_digest": str(digest)},
        }:
            return ReleaseContext(Baseline(version, digest), token, recorded=True)
    return None


def _find(present: list[Version], baseline: Baseline) -> Version | None:
    """Returns the valid version that a baseline names."""
    for version in present:
        if (
            version.number == baseline.version
            and version.manifest is not None
            and version.manifest.model_digest == baseline.model_digest
            and not verify(version)
        ):
            return version
    return None


def released_data(serving_dir: Path, baseline: Baseline | None) -> str:
    """What the release record of the baseline says of its data.

    Returns:
        `ExamplesSummary.to_json()`; "null" where the record says nothing, "" without a baseline.
    """
    if baseline is None:
        return ""
    version = _find(versions(serving_dir), baseline)
    if version is None or version.manifest is None:
        return ""
    return json.dumps(version.manifest.release.get("dataset"), sort_keys=True)


def export_baseline(serving_dir: Path, baseline: Baseline, destination: Path) -> Version:
    """Copies the baseline's files, without its manifest, to a directory that is created.

    Raises:
        ServingDirError: there is no such version, it is not what it was when the run began, or its
            files do not match its manifest.
    """
    found = [version for version in versions(serving_dir) if version.number == baseline.version]
    if not found:
        raise ServingDirError(
            f"the baseline, version {baseline.version}, is not in {serving_dir} any more: "
            "start the run again"
        )
    version = found[-1]
    if version.manifest is not None and version.manifest.model_digest != baseline.model_digest:
        raise ServingDirError(
            f"the baseline, version {baseline.version} in {serving_dir}, has the model digest "
            f"{version.manifest.model_digest}, expected {baseline.model_digest}: "
            "start the run again"
        )
    export_model(version, destination)
    return version


def baseline_in(exec_properties: Mapping[str, Any]) -> Baseline | None:
    """Returns the baseline that the parameters of `ServedModel` name, if they name one."""
    digest = exec_properties["baseline_digest"]
    return Baseline(exec_properties["baseline_version"], digest) if digest else None


class ServedModelExecutor(base_executor.BaseExecutor):
    """Puts the baseline below the output's URI, or takes the output away."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `ServedModel`."""
        model = artifact_utils.get_single_instance(output_dict[MODEL])
        baseline = baseline_in(exec_properties)
        if baseline is None:
            # TFX publishes the artifacts that stand here afterwards: none. Another component's
            # optional input is then an empty list, also where this execution was cached.
            output_dict[MODEL].clear()
            with contextlib.suppress(OSError):
                os.rmdir(model.uri)
            return
        version = export_baseline(
            Path(exec_properties["serving_dir"]),
            baseline,
            Path(model.uri) / path_constants.SERVING_MODEL_DIR,
        )
        model.set_int_custom_property(VERSION_PROPERTY, version.number)


class ServedModelSpec(component_spec.ComponentSpec):
    """Parameters and output of `ServedModel`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "baseline_version": component_spec.ExecutionParameter(type=int),
        "baseline_digest": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, Any]] = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
    }


class ServedModel(base_component.BaseComponent):
    """Hands on a version of the serving directory as a model, or nothing without a baseline.

    Args:
        serving_dir: the directory that TensorFlow Serving watches.
        baseline: the version; None with nothing served.
        code: a digest of the code that copies it; changes the cache key.

    Output `model`: at most one Model artifact, with the custom property `version`.
    """

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ServedModelExecutor)

    def __init__(self, *, serving_dir: str, baseline: Baseline | None, code: str = "") -> None:
        spec = ServedModelSpec(
            serving_dir=serving_dir,
            baseline_version=baseline.version if baseline else 0,
            baseline_digest=baseline.model_digest if baseline else "",
            code=code,
            model=Channel(type=standard_artifacts.Model),
        )
        super().__init__(spec=spec)
