"""One training from the files to the exported model, on one machine or as one of several."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft

from trainer import export, inputs, loop, own_network, placement, progress
from trainer import history as histories
from trainer.checkpoints import Checkpoints, training_key
from trainer.cluster import Cluster
from trainer.host.memory import memory_left
from trainer.job import Job
from trainer.strategy import (
    mirrored_strategy,
    multi_worker_strategy,
    prepare_devices,
    require_agreement,
    start_devices,
)

_log = logging.getLogger(__name__)


def train_and_export(job: Job, cluster: Cluster | None) -> None:
    """Trains on `train`, evaluates on `eval`, and exports; each machine of a cluster calls it, and
    only the chief writes.

    A killed training resumes after its last finished epoch: see docs/training.md.

    Raises:
      loop.TrainingDiverged: the loss became NaN or infinite.
      strategy.DeviceError: fewer devices than replicas.
      strategy.Disagreement: the machines would not train the same.
      tf.errors.OpError: another machine of the cluster was lost.
    """
    strategy = prepare(job, cluster)
    splits = load_splits(job)
    writes = cluster is None or cluster.is_chief
    config = job.custom_config
    key = training_key(
        data=[tensor for split in splits.values() for tensor in split.tensors],
        settings={
            **{name: config[name] for name in ("hparams", "seed", "code")},
            "replicas": strategy.num_replicas_in_sync,
            "libraries": [tf.__version__, keras.__version__],
        },
    )
    checkpoints = Checkpoints(Path(config["checkpoints"]), key, writes=writes)
    model, history = loop.train(
        job.hparams,
        spec=job.spec,
        strategy=strategy,
        seed=job.seed,
        log_dir=job.model_run_dir if writes else None,
        checkpoints=checkpoints,
        **splits,
    )
    _log.info("trained: %s", history[-1])
    if writes:
        if job.model_run_dir:
            histories.write(history, Path(job.model_run_dir))
        graph = tft.TFTransformOutput(job.transform_graph_path)
        export.save(model, graph, job.spec, job.serving_model_dir)
        own_network.write_copy(job.hparams.found, job.serving_model_dir)
        _log.info("exported: %s", job.serving_model_dir)
    if cluster is not None:
        _end_together(strategy, cluster)
    checkpoints.remove()


def prepare(job: Job, cluster: Cluster | None = None) -> tf.distribute.Strategy:
    """Sets up the devices that train, and waits for the other machines of a cluster.

    Call it before TensorFlow runs its first operation: only before that can TensorFlow split its
    CPU and join a cluster. Raises `strategy.DeviceError`, and tf.errors.OpError if machines do not
    connect.
    """
    if job.hparams.deterministic:
        tf.config.experimental.enable_op_determinism()
    if cluster is None:
        prepare_devices(job.replicas)
        strategy = mirrored_strategy(job.replicas)
    else:
        _log.info("waiting for the machines %s", ", ".join(cluster.addresses))
        strategy = multi_worker_strategy(job.replicas)
    start_devices()
    _log.info("replicas: %d", strategy.num_replicas_in_sync)
    return strategy


def load_splits(job: Job) -> dict[str, inputs.LoadedSplit]:
    """Loads `train` and `eval`, as keyword arguments of `loop.train`.

    Raises `paged_array.NoScratchSpace`, and ValueError if a split cannot be used.
    """
    with tf.device("CPU:0"):  # image by image, so that a GPU would wait for copies
        graph = tft.TFTransformOutput(job.transform_graph_path)
        readers = {
            "train_split": inputs.SplitReader(job.train_files, graph, job.spec),
            "eval_split": inputs.SplitReader(job.eval_files, graph, job.spec),
        }
        num_bytes = sum(reader.num_bytes for reader in readers.values())
        chosen, why = placement.choose(job.input, num_bytes, memory_left(), processes=job.processes)
        progress.LOGGER.info("%s", why)
        scratch = job.scratch if chosen == placement.STREAM else None
        if scratch:
            scratch.mkdir(parents=True, exist_ok=True)  # in a container nobody has made it
        splits = {name: reader.load(scratch) for name, reader in readers.items()}
    _log.info("loaded: %s examples", {name: len(split) for name, split in splits.items()})
    return splits


def _end_together(strategy: tf.distribute.Strategy, cluster: Cluster) -> None:
    """Waits until the chief has exported; unless this is the chief, raises tf.errors.OpError if a
    machine was lost before.

    A chief that is lost before its export trains again and needs all other machines for that, so
    none of them ends earlier.
    """
    needs_nobody = contextlib.suppress(tf.errors.OpError)
    with needs_nobody if cluster.is_chief else contextlib.nullcontext():
        require_agreement(strategy, "the model is exported")
    # Once more, so that no process ends while another still waits for its part of the first one.
    with needs_nobody:
        require_agreement(strategy, "all know it")
