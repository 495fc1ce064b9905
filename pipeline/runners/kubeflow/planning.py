"""The two tasks that make the plan in the cluster, see docs/decisions/0020.

Synopsis::

    plan_run(config, run_id)          # {"dataset_info": ..., "ExampleGen": ..., "Trainer": ...}
    choose_baseline(config, run_id, dataset_info=text, model_digest=digest)
"""

from __future__ import annotations

import json
from pathlib import Path

from components import serving_dir
from components.example_gen.image_set import DatasetInfo
from pipeline.config import RunConfig
from pipeline.graph import create_pipeline
from pipeline.run_plan import RunPlan, find_dataset, make_fresh, plan_for
from pipeline.runners.kubeflow import topology
from pipeline.runners.kubeflow.names import DATASET_INFO


def plan_run(config: RunConfig, run_id: str) -> dict[str, str]:
    """Looks at the data set, and fills in the parameters of all nodes up to the Trainer.

    Those of the nodes behind it are filled in as well and not used: `choose_baseline` makes them
    when there is a model, by what is served then.

    Raises:
      DataError, ConfigError, ServingDirError: as `pipeline.run_plan.make_plan`.
      Refused: what is served cannot be read: what would come out is known already.
    """
    dataset = find_dataset(config)
    plan = plan_for(config, dataset, run_id=run_id, takes_over=config.cache)
    plan.require_baseline()
    return {DATASET_INFO: dataset.to_json(), **exec_properties(plan)}


def choose_baseline(
    config: RunConfig, run_id: str, *, dataset_info: str, model_digest: str
) -> dict[str, str]:
    """Every node's parameters, now that there is a model.

    Args:
      dataset_info: as `plan_run` gave it.
      model_digest: of the model that is to be decided on.

    Raises:
      ServingDirError: the serving directory cannot be read.
    """
    dataset = DatasetInfo.from_json(dataset_info)
    plan = plan_for(config, dataset, run_id=run_id, takes_over=config.cache)
    if plan.context.recorded and _served_digest(plan) != model_digest:
        # The released model was not in the cache any more, and this is another one.
        plan = make_fresh(plan, run_id=run_id)
    return exec_properties(plan)


def _served_digest(plan: RunPlan) -> str | None:
    newest = serving_dir.newest_valid(Path(plan.serving_dir))
    return newest.manifest.model_digest if newest and newest.manifest else None


def exec_properties(plan: RunPlan) -> dict[str, str]:
    """By node, its parameters as one line of JSON, the same for equal ones."""
    return {
        node.name: json.dumps(node.exec_properties, sort_keys=True)
        for node in topology.nodes(create_pipeline(plan))
    }
