"""`tuner_fn`, what TFX's Tuner calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft

from trainer import inputs
from trainer.checkpoints import training_key
from trainer.strategy import prepare_devices
from trainer.tuning.search import Job, open_search

# What may differ between two runs of one search that was interrupted in between.
_BUDGET = ("max_minutes", "parallel_trials", "enabled")


def tuner_fn(fn_args: Any) -> Any:
    """Opens the search over what `fn_args` names; one that was interrupted goes on.

    Args:
      fn_args: `tfx.components.trainer.fn_args_utils.FnArgs`. Its `custom_config` holds "spec"
        (`ImageSpec.to_config()`), "hparams" (`HParams.to_config()`), "tuning" (`TuningConfig` as a
        dict), "seed" (int), "replicas" (int, 0 for all GPUs or one CPU), "code" (a digest of what
        searches) and "searches" (the directory of all searches that have not ended).

    Returns:
      `tfx.components.tuner.component.TunerFnResult`.

    Raises:
      strategy.DeviceError: fewer devices than replicas.
    """
    from tfx.components.tuner.component import TunerFnResult  # a worker does without TFX

    config = fn_args.custom_config
    prepare_devices(int(config["replicas"]))  # before `load` runs TensorFlow
    splits = load(fn_args.train_files, fn_args.eval_files, fn_args.transform_graph_path)
    decisive = {name: config[name] for name in ("spec", "hparams", "seed", "replicas", "code")}
    key = training_key(
        data=[tensor for split in splits.values() for tensor in split.tensors],
        settings={
            **decisive,
            "tuning": {k: v for k, v in config["tuning"].items() if k not in _BUDGET},
            "libraries": [tf.__version__, keras.__version__, keras_tuner.__version__],
        },
    )
    job = Job(
        folder=Path(config["searches"]) / key[:16],
        train_files=tuple(fn_args.train_files),
        eval_files=tuple(fn_args.eval_files),
        transform_output=fn_args.transform_graph_path,
        config=config,
    )
    job.write()
    if job.hparams.deterministic:
        tf.config.experimental.enable_op_determinism()
    return TunerFnResult(tuner=open_search(job), fit_kwargs=splits)


def load(train_files: Any, eval_files: Any, transform_output: str) -> dict[str, inputs.Split]:
    """The splits that a trial trains on and is judged by."""
    graph = tft.TFTransformOutput(transform_output)
    return {
        "train_split": inputs.load_split(train_files, graph),
        "eval_split": inputs.load_split(eval_files, graph),
    }
