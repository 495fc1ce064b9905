"""`run_fn`, what TFX's Trainer calls.

TFX reloads this module, so it holds functions only.
"""

from __future__ import annotations

import logging
from typing import Any

import keras
import tensorflow_transform as tft

from trainer import export, inputs, loop
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.strategy import mirrored_strategy

_log = logging.getLogger(__name__)


def run_fn(fn_args: Any) -> None:
    """Trains on `train`, watches `eval`, exports to `fn_args.serving_model_dir`.

    Args:
      fn_args: `tfx.components.trainer.fn_args_utils.FnArgs`. Its `custom_config` holds "spec"
        (`ImageSpec.to_config()`), "hparams" (`HParams.to_config()`), "seed" (int) and "replicas"
        (int, 0 for all GPUs or one CPU).

    Raises:
      loop.TrainingDiverged: the loss became NaN or infinite.
      strategy.DeviceError: fewer devices than replicas.
    """
    config = fn_args.custom_config
    spec = ImageSpec.from_config(config["spec"])
    hparams = HParams.from_config(config["hparams"])
    seed = int(config["seed"])
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
    history = loop.train(
        model,
        train_split=train_split,
        eval_split=eval_split,
        hparams=hparams,
        strategy=strategy,
        seed=seed,
        log_dir=fn_args.model_run_dir,
    )
    _log.info("trained: %s", history[-1])
    # A twin outside of the strategy: the export then knows nothing of replicas.
    twin = build_model(hparams, image_shape=spec.image_shape, num_classes=spec.num_classes)
    twin.set_weights(model.get_weights())
    export.save(twin, tft_output, spec, fn_args.serving_model_dir)
