"""Looks up what the graph needs before it is drawn: the data, the baseline, the code.

Synopsis::

    plan = make_plan(config, run_id="20261123T103000Z-3f2a")
    plan.context.baseline         # the version to compare with, or None
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.data_gate.bounds import DataBounds
from components.example_gen.example_facts import eval_size
from components.example_gen.image_set import TRAIN, DatasetInfo
from components.example_gen.opening import open_dataset
from components.gate import integrity
from components.gate.check import GateRefused
from components.gate.policy import Policy
from components.serving_check.model_server import find_model_server
from components.serving_dir import ReleaseContext, release_context, released_data
from pipeline import preflight, stores
from pipeline.code_keys import MAKERS, code_keys
from pipeline.config import ConfigError, RunConfig
from pipeline.dataset_defaults import bounds_for, policy_of, weakened
from trainer import own_network
from trainer.cluster import Cluster

# Libraries whose versions decide what a run computes.
_LIBRARIES = ("tfx", "tensorflow", "keras")

_NOTHING_SERVED = ReleaseContext(baseline=None, token="")


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """A configuration, and everything that was looked up for it.

    Attributes:
      code: the digest of each component's code, see `pipeline.code_keys`; that of the serving check
        stands for the server as well.
      workers: number of machines that train together.
      context: the baseline, and the token that names this release.
      released_data: of the baseline, see `serving_dir.released_data`.
      hold: the id of the run if its model is to wait for approval, otherwise empty.
    """

    config: RunConfig
    dataset: DatasetInfo
    code: Mapping[str, str]
    workers: int = 1
    context: ReleaseContext = _NOTHING_SERVED
    released_data: str = ""
    hold: str = ""

    @property
    def root(self) -> Path:
        """The absolute pipeline root."""
        return Path(self.config.pipeline_root).absolute()

    def artifacts(self, run_id: str) -> str | None:
        """The directory or URI for what a run's components hand on; None for the graph's own.

        No two runs share one: the numbers of executions, which TFX's paths end with, are those of
        one ML Metadata database.
        """
        place = self.config.artifacts
        if place is None:
            return None
        place = place.rstrip("/") if stores.is_uri(place) else os.path.abspath(place)
        return f"{place}/{self.dataset.slug}/{run_id}"

    @property
    def serving_dir(self) -> str:
        """The absolute path of the directory that the server watches."""
        return str(self.config.served_from(self.dataset.slug))

    @property
    def policy(self) -> Policy:
        return policy_of(self.config.gate, self.dataset)

    @property
    def bounds(self) -> DataBounds:
        """Those of the data gate."""
        return bounds_for(self.config.data_gate, self.dataset.name)

    @property
    def overrides(self) -> dict[str, Any] | None:
        """What weakens the data set's own policy and why, for the release record; or None."""
        keys = weakened(self.config.gate, self.dataset)
        return {"keys": list(keys), "reason": self.config.reason or ""} if keys else None

    @property
    def run_key(self) -> str:
        """Hex SHA-256 over all that decides a result, and where an equal run can take it over.

        Only code that makes the model counts: after a change of a gate or of the Pusher, the model
        is compared again with its recorded baseline. With another key the model would be compared
        with itself, in one more decision on the test split.
        """
        config = self.config
        searches = config.tuning.enabled
        decisive = {
            "metadata": str(config.metadata_path),
            "dataset": self.dataset.to_json(),
            "seed": config.seed,
            "replicas": config.replicas,
            "workers": self.workers,
            "training": config.training.to_config(),
            "tuning": dataclasses.asdict(config.tuning) if searches else None,
            # Both include the data set's own bounds, which a later release of this code may change.
            "gate": self.policy.to_config(),
            "data_gate": dataclasses.asdict(self.bounds),
            "serving": {
                name: value
                for name, value in dataclasses.asdict(config.serving).items()
                if name not in config.serving.keys  # they change no result
            },
            "code": {name: self.code[name] for name in MAKERS if name != "Tuner" or searches},
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def compared(self, run_id: str, *, takes_over: bool = False) -> RunPlan:
        """Returns the plan with what the served version says now.

        Args:
          takes_over: whether the release of a run with the same key may be taken over.
        """
        served = Path(self.serving_dir)
        key = self.run_key if takes_over else ""
        serving = self.config.serving
        signs = bool(serving.signing_key)
        context = release_context(served, key, run_id, serving.trust, signs=signs)
        data = released_data(served, context.baseline)
        hold = run_id if self.config.hold else ""
        return dataclasses.replace(self, context=context, released_data=data, hold=hold)

    def require_baseline(self) -> None:
        """Raises `GateRefused` if the served version is damaged, or there is none, and the
        configuration does not allow that.
        """
        checks = []
        if self.context.damage is not None:
            checks.append(integrity.damage_check(self.context.damage, self.policy))
        if self.context.baseline is None:
            checks.append(integrity.first_check(self.policy, self.serving_dir))
        if failed := [check for check in checks if not check.passed]:
            raise GateRefused(failed)


def make_plan(config: RunConfig, *, run_id: str) -> RunPlan:
    """Prepares the data set, and looks up the served version.

    Args:
      run_id: a text that no run had before. The release gets it as its token: with an old one
        TFX's cache would take over a release that is gone.

    Raises:
      DataError: the data source is refused.
      ClusterError, ConfigError, KeyRefused, NetworkError, StoreError, WeightsError: the
        configuration does not fit the machine or the data set.
      ConfigError, PathRefused, ServingDirError: the serving directory cannot be used.
    """
    # Without a cache the model is made anew, and compared with the served version like any other.
    takes_over = config.cache and config.metadata_path.exists()
    return plan_for(config, find_dataset(config), run_id=run_id, takes_over=takes_over)


def find_dataset(config: RunConfig) -> DatasetInfo:
    """Prepares the data set; raises as `make_plan`."""
    preflight.require_possible(config)
    image_set = open_dataset(config.dataset, config.data, data_dir=config.data_dir)
    dataset = image_set.info
    config.require_slices(dataset.features, image_set.test_values)
    source_rows = image_set.rows(TRAIN)
    preflight.require_fitting(
        config.fitted(dataset.image_shape),
        dataset,
        train_rows=source_rows - eval_size(source_rows),
        devices=max(1, config.replicas) * _workers(),
    )
    return dataset


def plan_for(config: RunConfig, dataset: DatasetInfo, *, run_id: str, takes_over: bool) -> RunPlan:
    """Returns the plan for a data set, see `RunPlan.compared`; raises as `make_plan`."""
    preflight.require_releasable(config, config.served_from(dataset.slug))
    fitted = config.fitted(dataset.image_shape)
    code = code_keys(
        network=own_network.module_of(fitted.training.architecture),
        # Not by distribution: TensorFlow has several, such as tensorflow-cpu.
        libraries={name: importlib.import_module(name).__version__ for name in _LIBRARIES},
    )
    if server := find_model_server(fitted.serving.model_server):
        code["ServingCheck"] = _with_server(code["ServingCheck"], server)
    plan = RunPlan(fitted, dataset, code, _workers())
    return plan.compared(run_id, takes_over=takes_over)


def _with_server(code: str, server: str) -> str:
    """Returns a digest of the code and of the program that it starts: an update counts as well."""
    status = os.stat(server)
    text = f"{code} {server!r} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def _workers() -> int:
    cluster = Cluster.from_environment()
    if cluster is None:
        return 1
    if not cluster.is_chief:
        raise ConfigError(
            f"this machine is number {cluster.index} of TF_CONFIG, expected 0, the chief, which "
            "alone runs the pipeline; start `tfx-mnist worker` here"
        )
    return cluster.size
