"""Refuses before a run what a component would find out only after the training."""

from __future__ import annotations

import os
from pathlib import Path

from components import serving_dir
from components.example_gen.image_set import DatasetInfo
from components.serving_check.model_server import find_model_server
from components.serving_dir.log import read_log
from components.signing import KeyRefused, require_keys
from pipeline.config import ConfigError, RunConfig
from trainer.architectures import ARCHITECTURES
from trainer.host import paths
from trainer.tuning import processes


def require_possible(config: RunConfig) -> None:
    """Raises ConfigError for a configuration that fits no data set, before one is prepared.

    ServingDirError says that the serving directory cannot be read.
    """
    if config.tuning.enabled and processes.is_worker(os.environ):
        raise ConfigError(
            f"{processes.TUNER_ID} is {os.environ.get(processes.TUNER_ID)!r}, expected 'chief': "
            "a worker of a search is started with `tfx-mnist worker --search JOB`, see "
            "docs/tuning.md"
        )
    try:
        find_model_server(config.serving.model_server)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    try:
        require_keys(config.serving.signing_key, config.serving.public_key)
    except KeyRefused as error:
        raise ConfigError(str(error)) from None
    if config.serving_dir:
        serving_dir.versions(Path(config.serving_dir))
        require_releasable(Path(config.serving_dir))


def require_releasable(served: Path) -> None:
    """Raises ConfigError or ServingDirError if no version could be added to the directory."""
    try:
        paths.require_directory("serving_dir", served)
        for name in (serving_dir.LOCK_NAME, serving_dir.LOG_NAME):
            paths.require_file("serving_dir", served / name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    read_log(served)


def require_fitting(
    config: RunConfig, dataset: DatasetInfo, *, train_rows: int, devices: int
) -> None:
    """Raises ConfigError for a configuration that does not fit the data set.

    Args:
      train_rows: number of rows of `train`, after `eval` was cut from it.
      devices: at least that many train together; without --replicas only the Trainer can count.
    """
    height, width, _ = dataset.image_shape
    size = f"{dataset.name} has images of {height}x{width} pixels"
    training = config.training
    least = ARCHITECTURES[training.architecture].min_side
    if min(height, width) < least:
        raise ConfigError(
            f"{size}, expected {least}x{least} or larger: the network {training.architecture!r} "
            "pools smaller ones away; enlarge the images"
        )
    if training.max_shift >= min(height, width):
        raise ConfigError(
            f"training.max_shift is {training.max_shift} and {size}, expected at most "
            f"{min(height, width) - 1}; set training.max_shift lower"
        )
    batch = training.per_replica_batch * devices
    if batch > train_rows:
        raise ConfigError(
            f"the global batch is {batch}, expected at most {train_rows}, the training images of "
            f"{dataset.name}; set training.per_replica_batch lower"
        )
    if training.jit_compile and devices > 1:
        raise ConfigError(
            f"training.jit_compile is true with {devices} replicas, expected one: XLA "
            "cannot compile what several do together; set training.jit_compile=false"
        )
    low, high = config.data_gate.mean_intensity(dataset.name)
    if low >= high:
        raise ConfigError(
            f"data_gate.min_mean_intensity is {low:g}, expected less than "
            f"data_gate.max_mean_intensity, which is {high:g}; set one of them"
        )
