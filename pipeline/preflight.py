"""Refuses before a run what a component would find out only after the training."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import os
from pathlib import Path

from components import serving_dir
from components.example_gen.image_set import DatasetInfo
from components.gate import accuracy
from components.serving_check.model_server import find_model_server
from components.serving_dir.log import read_log
from components.signing import require_keys
from pipeline import stores
from pipeline.beam_runner import arguments_problem, runner_problem, service_problem
from pipeline.config import ConfigError, RunConfig
from pipeline.dataset_defaults import bounds_for, policy_of, weakened
from trainer import own_network
from trainer.architectures import ARCHITECTURES
from trainer.host import paths
from trainer.hparams import HParams
from trainer.tuning import processes
from trainer.weights import start_from


def require_possible(config: RunConfig) -> None:
    """Raises a UserError for a configuration that fits no data set, before one is prepared: a
    ConfigError, KeyRefused, StoreError, PathRefused or ServingDirError.
    """
    if config.tuning.enabled and any(name in os.environ for name in processes.VARIABLES):
        _require_chief()
    try:
        multiprocessing.Lock()  # as Beam's pools of threads make them
    except OSError as error:
        raise ConfigError(
            f"no lock of Beam can be made in /dev/shm ({error.strerror}): let this user write there"
        ) from None
    if problem := arguments_problem(config.beam_args):
        raise ConfigError(problem)
    if not config.allow_unproven_runner and (problem := runner_problem(config.beam_args)):
        raise ConfigError(f"{problem}, or --set allow_unproven_runner=true")
    if problem := service_problem(config.beam_args):
        raise ConfigError(problem)
    try:
        find_model_server(config.serving.model_server)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    require_keys(**config.serving.keys)
    if config.artifacts and stores.is_uri(config.artifacts):
        stores.require_usable(config.artifacts)
    if config.serving_dir:
        serving_dir.versions(Path(config.serving_dir))
        require_releasable(config, Path(config.serving_dir))


def _require_chief() -> None:
    """Raises ConfigError if the environment describes no chief whose workers find it."""
    if processes.is_worker(os.environ):
        raise ConfigError(
            f"{processes.TUNER_ID} is {os.environ.get(processes.TUNER_ID)!r}, expected 'chief': "
            "a worker of a search is started with `tfx-mnist worker --search JOB`, see "
            "docs/tuning.md"
        )
    if problem := processes.address_problem(os.environ):
        raise ConfigError(f"{problem}, or unset all three to search on this machine alone")


def require_releasable(config: RunConfig, served: Path) -> None:
    """Raises PathRefused or ServingDirError if no version could be added to the directory."""
    paths.require_directory("serving_dir", served)
    for name in (serving_dir.LOCK_NAME, serving_dir.LOG_NAME):
        paths.require_file("serving_dir", served / name)
    read_log(served)
    if not config.hold:  # whoever approves may have the key
        serving_dir.require_signed(serving_dir.live(served), signs=bool(config.serving.signing_key))


def require_fitting(
    config: RunConfig, dataset: DatasetInfo, *, train_rows: int, devices: int
) -> None:
    """Raises ConfigError, NetworkError or WeightsError for a configuration that does not fit the
    data set.

    Args:
      train_rows: number of rows of `train`, after `eval` was cut from it.
      devices: how many train together at least; without --replicas only the Trainer counts them.
    """
    keys = weakened(config.gate, dataset)
    if keys and not (config.reason or "").strip():
        raise ConfigError(
            f"{', '.join(keys)} would release what {dataset.name}'s own policy refuses: say why "
            "with --reason TEXT, which is kept with the release, or leave the default"
        )
    _require_reachable(config, dataset)
    height, width, _ = dataset.image_shape
    size = f"{dataset.name} has images of {height}x{width} pixels"
    training = config.training
    own = own_network.is_own(training.architecture)
    least = 1 if own else ARCHITECTURES[training.architecture].min_side
    if min(height, width) < least:
        raise ConfigError(
            f"{size}, expected {least}x{least} or larger: the network {training.architecture!r} "
            "pools smaller ones away; "
            + ("set data.image_size higher" if dataset.resize else "enlarge the images")
        )
    batch = training.per_replica_batch * devices
    if own or training.weights or batch == 1:
        _require_network(training, dataset, batch=batch)
    if training.max_shift >= min(height, width):
        raise ConfigError(
            f"training.max_shift is {training.max_shift} and {size}, expected at most "
            f"{min(height, width) - 1}; set training.max_shift lower"
        )
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
    bounds = bounds_for(config.data_gate, dataset.name)
    low, high = bounds.min_mean_intensity, bounds.max_mean_intensity
    if low >= high:
        raise ConfigError(
            f"data_gate.min_mean_intensity is {low:g}, expected less than "
            f"data_gate.max_mean_intensity, which is {high:g}; set one of them"
        )


def _require_reachable(config: RunConfig, dataset: DatasetInfo) -> None:
    """Raises ConfigError if a model without errors would be refused on so few test images."""
    policy = policy_of(config.gate, dataset)
    least = accuracy.least_rows(policy, decision=1)
    if least is None:
        raise ConfigError(
            "gate.floor is 1, which no number of test images shows; set gate.floor lower"
        )
    if least > dataset.test_rows:
        raise ConfigError(
            f"{dataset.name} has {dataset.test_rows:,} test images, expected at least {least:,}: "
            f"on fewer no model is shown to reach gate.floor, which is {policy.floor}; add test "
            "images, or set gate.floor lower"
        )


def _require_network(training: HParams, dataset: DatasetInfo, *, batch: int) -> None:
    """Builds the network, in this process, and gives it the weights from which it starts.

    Raises ConfigError, NetworkError or WeightsError if the global batch, the user's own function or
    the weights do not fit.
    """
    from trainer.model import build_model  # Keras takes seconds to import
    from trainer.normalization import require_batch

    build = functools.partial(
        build_model,
        dataclasses.replace(training, precision="float32"),
        image_shape=dataset.image_shape,
    )
    built = build_model(training, image_shape=dataset.image_shape, num_classes=dataset.num_classes)
    try:
        require_batch(built, batch)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if training.weights:
        model = build(num_classes=dataset.num_classes)
        start_from(model, training, lambda classes: build(num_classes=classes))
