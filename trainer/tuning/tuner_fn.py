"""`tuner_fn`, which TFX's Tuner calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow as tf

from trainer import training
from trainer.checkpoints import training_key
from trainer.job import Job
from trainer.tuning.search import open_search

# What may differ between two runs of one search that was interrupted in between.
_BUDGET = ("max_minutes", "parallel_trials", "enabled")


def tuner_fn(fn_args: Any) -> Any:
    """Opens the search that `fn_args` describes, or continues it if it was interrupted.

    This process proposes trials, and does not train. `fn_args` are TFX's `FnArgs` (see
    `trainer.job.Job`); returns TFX's `TunerFnResult`.
    """
    from tfx.components.tuner.component import TunerFnResult

    job = Job.from_fn_args(fn_args)
    splits = training.load_splits(job)
    config = job.custom_config
    key = training_key(
        data=[tensor for split in splits.values() for tensor in split.tensors],
        settings={
            **{name: config[name] for name in ("spec", "hparams", "seed", "replicas", "code")},
            "tuning": {k: v for k, v in config["tuning"].items() if k not in _BUDGET},
            "libraries": [tf.__version__, keras.__version__, keras_tuner.__version__],
        },
    )
    search = open_search(job, Path(config["searches"]) / key[:16])
    job.write(search.job_file)
    return TunerFnResult(tuner=search, fit_kwargs={})
