"""The description of a training or a search, as a file for the processes that share it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.features import ImageSpec
from trainer.host.files import write_durably
from trainer.hparams import HParams
from trainer.placement import AUTO, VARIABLE
from trainer.tuning.results import tuned

_ALWAYS = ("spec", "hparams", "seed", "replicas", "code")  # of `Job.custom_config`


def job_file(pipeline_root: Path) -> Path:
    """The file in which the chief of a training tells the other machines what to do."""
    return pipeline_root / "training-job.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """The part of `tfx.components.trainer.fn_args_utils.FnArgs` that a training or a search needs.

    Attributes:
      train_files, eval_files: patterns of gzipped TFRecords.
      custom_config: "spec" (`ImageSpec.to_config()`), "hparams" (`HParams.to_config()`), "seed"
        (int), "replicas" (int, 0 for all GPUs or one CPU) and "code" (a digest of what trains). For
        a training "workers" (int, machines that train together) and "checkpoints" (the directory of
        all trainings' checkpoints); for a search "tuning" (`TuningConfig` as a dict) and "searches"
        (the directory of all searches that have not ended).
      serving_model_dir: directory to which a training exports the model.
      model_run_dir: directory for TensorBoard's event files.
      input: where the decoded images lie, one of `placement.CHOICES`.
    """

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    custom_config: Mapping[str, Any]
    serving_model_dir: str = ""
    model_run_dir: str = ""
    input: str = AUTO

    @classmethod
    def from_fn_args(cls, fn_args: Any) -> Job:
        """Takes the fields of the same names, and `input` from the environment; the result of a
        search replaces hyper-parameters. Raises ValueError if `custom_config` lacks a key.
        """
        config = getattr(fn_args, "custom_config", None) or {}
        wanted = [*_ALWAYS, "searches" if "tuning" in config else "checkpoints"]
        if missing := [name for name in wanted if name not in config]:
            raise ValueError(
                f"custom_config lacks {', '.join(missing)}, expected {', '.join(wanted)}: "
                f"{__name__}.Job describes each"
            )
        names = [field.name for field in dataclasses.fields(cls)]
        given = {name: value for name in names if (value := getattr(fn_args, name, None))}
        job = cls(**{"input": os.environ.get(VARIABLE, AUTO), **given})
        found = getattr(fn_args, "hyperparameters", None)
        if not found:
            return job
        hparams = tuned(job.hparams, found["values"]).to_config()
        return dataclasses.replace(job, custom_config={**job.custom_config, "hparams": hparams})

    @classmethod
    def read(cls, file: Path) -> Job:
        return cls.from_json(file.read_text(encoding="utf-8"))

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))

    def write(self, file: Path) -> None:
        """Writes the file completely or not at all."""
        write_durably(file, self.to_json())

    def to_json(self) -> str:
        """Returns one line."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec.from_config(self.custom_config["spec"])

    @property
    def hparams(self) -> HParams:
        """Those of the training, or those from which the search starts."""
        return HParams(**self.custom_config["hparams"])

    @property
    def seed(self) -> int:
        return int(self.custom_config["seed"])

    @property
    def scratch(self) -> Path:
        """The directory for files that nobody needs after the process: TMPDIR where it is set, else
        the pipeline root, since /tmp may lie in memory.
        """
        config = self.custom_config
        root = Path(config["checkpoints"] if "checkpoints" in config else config["searches"]).parent
        return Path(os.environ.get("TMPDIR") or root)

    @property
    def processes(self) -> int:
        """How many processes of this machine train for the job at the same time."""
        return int(self.custom_config.get("tuning", {}).get("parallel_trials", 1))

    @property
    def replicas(self) -> int:
        return int(self.custom_config["replicas"])
