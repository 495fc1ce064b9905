"""TFX's Tuner with a search that survives a kill, uses several processes, and shows its trials.

Its inputs and outputs are those of TFX's own. Beside TFX's files its results hold a table of all
trials, failed ones included (`trainer.tuning.results.read_results`), and a picture of it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from tfx.components.trainer import fn_args_utils
from tfx.components.tuner import component as tfx_component
from tfx.components.tuner import executor as tfx_executor
from tfx.components.util import udf_utils
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs

from components.tuner import trials_plot
from trainer import progress
from trainer.tuning import processes
from trainer.tuning.results import PLOT, TABLE
from trainer.tuning.search import Search


class SearchExecutor(tfx_executor.Executor):
    """Opens the search, lets processes of their own train its trials, and writes the results."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Raises `NoneCompleted`, `WorkerDied` or `WorkersSilent` of `trainer.tuning`."""
        tune_args = tfx_executor.get_tune_args(exec_properties)
        workers = tune_args.num_parallel_trials if tune_args else 1
        # Workers on other machines, of which this process is the chief (docs/tuning.md).
        has_remote_workers = processes.ORACLE_IP in os.environ
        with contextlib.nullcontext() if has_remote_workers else processes.chief_of_local_workers():
            given = udf_utils.get_fn(exec_properties, "tuner_fn")(
                fn_args_utils.get_common_fn_args(input_dict, exec_properties, self._get_tmp_dir())
            )
            search = given.tuner
            if not isinstance(search, Search):
                raise TypeError(
                    f"tuner_fn gave a tuner of the type {type(search).__name__}, expected "
                    f"{Search.__module__}.Search; TFX's own Tuner takes others"
                )
            if has_remote_workers:
                progress.LOGGER.info("waiting for: tfx-mnist worker --search %s", search.job_file)
                processes.serve_workers(search)
            else:
                processes.train_in_workers(search, count=workers)
        results = search.results()
        table = json.dumps(results.to_dict(), indent=2)  # refuses a search without a best trial
        tfx_executor.write_best_hyperparameters(search, output_dict)
        tuner_results = output_dict[standard_component_specs.TUNER_RESULTS_KEY]
        folder = Path(artifact_utils.get_single_uri(tuner_results))
        (folder / TABLE).write_text(table, encoding="utf-8")
        (folder / PLOT).write_bytes(trials_plot.draw(results))
        search.remove()


class Tuner(tfx_component.Tuner):
    """TFX's Tuner with the executor above; the tuner that `tuner_fn` gives must be a `Search`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SearchExecutor)
