"""What one training is to do, as a file that the machines which train together read.

Synopsis::

    file = job_file(Path("pipeline_root"))
    Job.from_fn_args(fn_args).write(file)        # by the chief
    Job.read(file)                               # by each process that trains
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.host.files import write_durably
from trainer.hparams import HParams
from trainer.tuning.trials import tuned


def job_file(pipeline_root: Path) -> Path:
    """Where the chief of a training says what the others shall do."""
    return pipeline_root / "training-job.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """The part of `tfx.components.trainer.fn_args_utils.FnArgs` that a training needs.

    Attributes:
      train_files: patterns of gzipped TFRecords, as `eval_files`.
      eval_files: see there.
      transform_output: directory of the transform graph.
      serving_model_dir: where the model is exported to.
      model_run_dir: where TensorBoard's event files go.
      custom_config: "spec" (`ImageSpec.to_config()`), "hparams" (`HParams.to_config()`), "seed"
        (int), "replicas" (int, 0 for all GPUs or one CPU), "workers" (int, machines that train
        together), "code" (a digest of what trains) and "checkpoints" (the directory of all
        trainings' checkpoints).
    """

    train_files: list[str]
    eval_files: list[str]
    transform_output: str
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, Any]

    @classmethod
    def from_fn_args(cls, fn_args: Any) -> Job:
        """The fields of that name; what a search has found replaces the hyper-parameters."""
        names = [field.name for field in dataclasses.fields(cls)]
        job = cls(**{name: getattr(fn_args, name) for name in names})
        if not fn_args.hyperparameters:
            return job
        given = HParams.from_config(job.custom_config["hparams"])
        found = tuned(given, fn_args.hyperparameters["values"]).to_config()
        return dataclasses.replace(job, custom_config={**job.custom_config, "hparams": found})

    @classmethod
    def read(cls, file: Path) -> Job:
        """What `write` has written."""
        return cls(**json.loads(file.read_text()))

    @property
    def pipeline_root(self) -> Path:
        """The directory that the machines share."""
        return Path(self.custom_config["checkpoints"]).parent

    def write(self, file: Path) -> None:
        """Writes it whole or not at all."""
        write_durably(file, json.dumps(dataclasses.asdict(self)))
