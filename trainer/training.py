"""One training from the files to the exported model, alone or as one machine of several.

Synopsis::

    train_and_export(Job.from_fn_args(fn_args), cluster=None)
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft

from trainer import export, inputs, loop
from trainer.checkpoints import Checkpoints, training_key
from trainer.cluster import Cluster
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.job import Job
from trainer.model import build_model
from trainer.state import Epoch
from trainer.strategy import (
    mirrored_strategy,
    multi_worker_strategy,
    prepare_devices,
    require_agreement,
)

_log = logging.getLogger(__name__)


def train_and_export(job: Job, cluster: Cluster | None) -> None:
    """Trains on `train`, watches `eval`, and exports; of several machines the chief alone writes.

    A training that was killed goes on from its last finished epoch: see docs/training.md.

    Args:
      job: what to train on and how.
      cluster: the machines that train together, each of which calls this; None for this one alone.

    Raises:
      loop.TrainingDiverged: the loss became NaN or infinite.
      strategy.DeviceError: fewer devices than replicas.
      strategy.Disagreement: the machines do not train the same.
      tf.errors.OpError: another machine of the cluster is gone.
    """
    config = job.custom_config
    spec = ImageSpec.from_config(config["spec"])
    hparams = HParams.from_config(config["hparams"])
    seed, replicas = int(config["seed"]), int(config["replicas"])
    if hparams.deterministic:
        tf.config.experimental.enable_op_determinism()
    # Before anything else: TensorFlow splits its CPU, and joins a cluster, only before its first
    # operation. In a container, and in a process of several machines, this is the first.
    if cluster is None:
        prepare_devices(replicas)
        strategy = mirrored_strategy(replicas)
    else:
        _log.info("waiting for the machines %s", ", ".join(cluster.addresses))
        strategy = multi_worker_strategy(replicas)
    _log.info("replicas: %d", strategy.num_replicas_in_sync)
    tft_output = tft.TFTransformOutput(job.transform_output)
    train_split = inputs.load_split(job.train_files, tft_output)
    eval_split = inputs.load_split(job.eval_files, tft_output)

    writes = cluster is None or cluster.is_chief
    checkpoints = Checkpoints(
        Path(config["checkpoints"]),
        training_key(
            data=[*train_split.tensors, *eval_split.tensors],
            settings={
                **{name: config[name] for name in ("hparams", "seed", "code")},
                "replicas": strategy.num_replicas_in_sync,
                "libraries": [tf.__version__, keras.__version__],
            },
        ),
        writes=writes,
    )
    served, history = fit(
        hparams,
        spec=spec,
        train_split=train_split,
        eval_split=eval_split,
        strategy=strategy,
        seed=seed,
        log_dir=job.model_run_dir if writes else None,
        checkpoints=checkpoints,
    )
    _log.info("trained: %s", history[-1])
    if writes:
        export.save(served, tft_output, spec, job.serving_model_dir)
    if cluster is not None:
        _end_together(strategy, cluster)
    checkpoints.remove()


def _end_together(strategy: tf.distribute.Strategy, cluster: Cluster) -> None:
    """Waits until the chief has exported.

    A chief that is lost before that trains again, and needs all other machines for it: so none of
    them ends earlier.

    Raises:
      tf.errors.OpError: another machine was lost before; not on the chief, which needs nobody.
    """
    needs_nobody = contextlib.suppress(tf.errors.OpError)
    with needs_nobody if cluster.is_chief else contextlib.nullcontext():
        require_agreement(strategy, "the model is exported")
    # Once more, so that no process ends while another still waits for its part of the first one.
    with needs_nobody:
        require_agreement(strategy, "all know it")


def fit(
    hparams: HParams,
    *,
    spec: ImageSpec,
    train_split: inputs.Split,
    eval_split: inputs.Split,
    strategy: tf.distribute.Strategy,
    seed: int,
    log_dir: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, list[Epoch]]:
    """Builds a network and trains it: what a run and each trial of a search do alike.

    Args: see `loop.train`; `seed` is that of the first weights as well.

    Returns:
      The network to be exported, and the epochs in order.
    """
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = build_model(hparams, image_shape=spec.image_shape, num_classes=spec.num_classes)
    # A twin outside of the strategy: the export then knows nothing of replicas.
    served = build_model(
        dataclasses.replace(hparams, precision="float32"),
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
    )
    history = loop.train(
        model,
        served,
        train_split=train_split,
        eval_split=eval_split,
        hparams=hparams,
        strategy=strategy,
        seed=seed,
        log_dir=log_dir,
        checkpoints=checkpoints,
    )
    return served, history
