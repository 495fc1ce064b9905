"""`run_fn`, what TFX's Trainer calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from trainer import export, inputs, loop
from trainer.checkpoints import Checkpoints, training_key
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.strategy import mirrored_strategy

_log = logging.getLogger(__name__)


def run_fn(fn_args: Any) -> None:
    """Trains on `train`, watches `eval`, exports to `fn_args.serving_model_dir`.

    A training that was killed goes on from its last finished epoch: see docs/training.md.

    Args:
      fn_args: `tfx.components.trainer.fn_args_utils.FnArgs`. Its `custom_config` holds "spec"
        (`ImageSpec.to_config()`), "hparams" (`HParams.to_config()`), "seed" (int), "replicas"
        (int, 0 for all GPUs or one CPU), "code" (a digest of this package) and "checkpoints" (the
        directory of all trainings' checkpoints).

    Raises:
      loop.TrainingDiverged: the loss became NaN or infinite.
      strategy.DeviceError: fewer devices than replicas.
    """
    config = fn_args.custom_config
    spec = ImageSpec.from_config(config["spec"])
    hparams = HParams.from_config(config["hparams"])
    seed = int(config["seed"])
    if hparams.deterministic:
        tf.config.experimental.enable_op_determinism()
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    train_split = inputs.load_split(fn_args.train_files, tft_output)
    eval_split = inputs.load_split(fn_args.eval_files, tft_output)

    keras.utils.set_random_seed(seed)
    strategy = mirrored_strategy(int(config["replicas"]))
    _log.info("replicas: %d", strategy.num_replicas_in_sync)
    with strategy.scope():
        model = build_model(
            hparams,
            image_shape=spec.image_shape,
            num_classes=spec.num_classes,
            synchronized=strategy.num_replicas_in_sync > 1,
        )
    # A twin outside of the strategy: the export then knows nothing of replicas.
    served = build_model(
        dataclasses.replace(hparams, precision="float32"),
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
    )
    checkpoints = Checkpoints(
        Path(config["checkpoints"]),
        training_key(
            data=[train_split.images, train_split.labels, eval_split.images, eval_split.labels],
            settings={
                **{name: config[name] for name in ("hparams", "seed", "code")},
                "replicas": strategy.num_replicas_in_sync,
                "libraries": [tf.__version__, keras.__version__],
            },
        ),
    )
    history = loop.train(
        model,
        served,
        train_split=train_split,
        eval_split=eval_split,
        hparams=hparams,
        strategy=strategy,
        seed=seed,
        log_dir=fn_args.model_run_dir,
        checkpoints=checkpoints,
    )
    _log.info("trained: %s", history[-1])
    export.save(served, tft_output, spec, fn_args.serving_model_dir)
    checkpoints.remove()
