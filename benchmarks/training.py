"""The training by itself: what its options do to time and accuracy, and how near it is to the peak.

    python benchmarks/training.py DIR [--preset fast] [--options plain ...] [--epochs N]
    python benchmarks/training.py DIR --preset best --options plain dropout=0.3,averaging=0.998 \
        --eval-share 3
    python benchmarks/training.py DIR --peak [--preset fast]

DIR holds the four IDX files of a data set; a twelfth of `train`, or another share, serves as
`eval`, and `test` is not read: with these a preset may be chosen. Each training is a process of its
own. The first two forms print a Markdown table. The last one compares the floating-point operations
of the training with those of the product of two large matrices, both by CPU second, so that other
processes of the machine weigh less.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from processes import measure

from pipeline.config import ConfigError
from pipeline.config_model import build
from trainer.hparams import HParams
from trainer.training_process import seeing_gpus

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deterministic": {"deterministic": True},
    "jit_compile": {"jit_compile": True},
    "bfloat16": {"precision": "bfloat16"},
    "averaging": {"averaging": 0.998},
    "two replicas": {},
}
_MATRIX, _PRODUCTS = 2048, 12


def hparams_of(preset: str, option: str) -> HParams:
    """The preset's, with one of `OPTIONS` or with such as "dropout=0.3,averaging=0.998" on top.

    Raises:
      ConfigError: an unknown preset or hyper-parameter, or a bad value.
    """
    given = OPTIONS.get(option)
    if given is None:
        given = dict(one.partition("=")[::2] for one in option.split(","))
    return build(preset, {f"training.{key}": value for key, value in given.items()}).training


def train(
    folder: Path, hparams: HParams, *, replicas: int, seed: int, eval_share: int
) -> dict[str, float]:
    """Trains in this process."""
    import tensorflow as tf

    from trainer import loop
    from trainer.features import ImageSpec
    from trainer.strategy import mirrored_strategy, prepare_devices

    prepare_devices(replicas)
    if hparams.deterministic:
        tf.config.experimental.enable_op_determinism()
    train_split, eval_split = _splits(folder, eval_share)
    shape, classes = tuple(train_split.images.shape[1:]), int(train_split.labels.shape[1])
    hparams = dataclasses.replace(hparams, per_replica_batch=hparams.per_replica_batch // replicas)
    wall, cpu = time.monotonic(), time.process_time()
    model, history = loop.train(
        hparams,
        spec=ImageSpec(shape, tuple(map(str, range(classes)))),
        train_split=train_split,
        eval_split=eval_split,
        strategy=mirrored_strategy(replicas),
        seed=seed,
    )
    steps = len(train_split) // (hparams.per_replica_batch * replicas)
    warm = [epoch.seconds for epoch in history[1:] or history]
    images = steps * hparams.per_replica_batch * replicas
    return {
        "wall": time.monotonic() - wall,
        "cpu": time.process_time() - cpu,
        "steps_per_second": steps / statistics.median(warm),
        "accuracy": history[-1].eval_accuracy,
        "loss": history[-1].eval_loss,
        "operations": operations_per_image(model) * images * len(history),
        "matrix_operations_per_cpu_second": matrix_operations_per_cpu_second(),
    }


def _splits(folder: Path, eval_share: int) -> Any:
    """`train` without one part of `eval_share`, and that part."""
    import tensorflow as tf

    from components.example_gen.images import read_arrays
    from components.example_gen.opening import open_dataset
    from trainer.inputs import LoadedSplit

    images, labels = read_arrays(open_dataset(f"idx:{folder}", data_dir=None), "train")
    order = np.random.default_rng(0).permutation(len(images))
    levels = np.arange(256, dtype=np.float32)[:, None] / 255.0
    levels = (levels - images.mean() / 255.0) / (images.std() / 255.0)
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[labels]

    def part(rows: np.ndarray) -> LoadedSplit:
        return LoadedSplit(
            images=tf.constant(images[rows]),
            labels=tf.constant(one_hot[rows]),
            levels=tf.constant(levels, tf.float32),
        )

    rest = len(images) // eval_share
    return part(order[rest:]), part(order[:rest])


def operations_per_image(model: Any) -> float:
    """Of convolutions and dense layers, forwards and backwards: multiplications and additions.

    Backwards takes twice what forwards does: the gradients of the weights and those of the inputs,
    which the first layer does not need.
    """
    total, first = 0.0, True
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        positions = np.prod(layer.output.shape[1:-1]) if layer.kernel.shape.rank == 4 else 1
        forward = 2.0 * np.prod(layer.kernel.shape) * positions
        total += forward * (2.0 if first else 3.0)
        first = False
    return float(total)


def matrix_operations_per_cpu_second() -> float:
    """Of the product of two float32 matrices, over a dozen of them."""
    import tensorflow as tf

    left, right = tf.random.normal([_MATRIX, _MATRIX]), tf.random.normal([_MATRIX, _MATRIX])
    multiply = tf.function(lambda: tf.matmul(left, right), autograph=False)
    multiply()
    start = time.process_time()
    for _ in range(_PRODUCTS):
        multiply().numpy()
    return 2.0 * _MATRIX**3 * _PRODUCTS / (time.process_time() - start)


def trainings(
    folder: Path, preset: str, options: Sequence[str], *, epochs: int, runs: int, eval_share: int
) -> dict[str, list[dict[str, float]]]:
    """Makes every option's trainings in turn, in processes of their own, on GPUs if there are any.

    Args:
      epochs: 0 for the preset's.
    """
    os.environ.update(seeing_gpus())
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options}
    for seed in range(runs):
        for name, some in results.items():
            words = [str(folder), "--preset", preset, "--seed", str(seed)]
            words += ["--eval-share", str(eval_share), "--epochs", str(epochs)]
            some.append(measure([sys.executable, __file__, *words, "--one", name]).printed)
            print(f"{name}, seed {seed}: {some[-1]}", file=sys.stderr, flush=True)
    return results


def table(
    folder: Path,
    preset: str,
    options: Sequence[str],
    *,
    epochs: int = 0,
    runs: int = 1,
    eval_share: int = 12,
) -> None:
    """Prints a row for each option's trainings."""
    results = trainings(folder, preset, options, epochs=epochs, runs=runs, eval_share=eval_share)
    columns = ("training", "wall time", "CPU time", "steps/s", "eval accuracy", "cross-entropy")
    print(f"| {' | '.join(columns)} |")
    print(f"| {' | '.join('---' for _ in columns)} |")
    for name, some in results.items():
        wall, cpu, steps, right, loss = (
            statistics.median(run[key] for run in some)
            for key in ("wall", "cpu", "steps_per_second", "accuracy", "loss")
        )
        print(
            f"| {name} | {wall:.0f} s | {cpu:.0f} s | {steps:.0f} | {right:.4f} | {loss:.4f} |",
            flush=True,
        )


def peak(folder: Path, preset: str, options: Sequence[str], *, epochs: int, runs: int) -> None:
    """Prints how near each option comes to the peak of the machine."""
    results = trainings(folder, preset, options, epochs=epochs, runs=runs, eval_share=12)
    for name, some in results.items():
        reached = [run["operations"] / run["cpu"] for run in some]
        peaks = [run["matrix_operations_per_cpu_second"] for run in some]
        shares = [one / highest for one, highest in zip(reached, peaks, strict=True)]
        print(
            f"{name}: {statistics.median(reached) / 1e9:.0f} GFLOP per CPU second, "
            f"matrices {statistics.median(peaks) / 1e9:.0f}: {statistics.median(shares):.0%}"
        )


def main() -> None:
    """Trains once when asked by itself, otherwise prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS))
    parser.add_argument("--eval-share", type=int, default=12, help="`eval` is one part of N")
    parser.add_argument("--epochs", type=int, default=0, help="instead of the preset's")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--peak", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.one:
        try:
            for option in arguments.options:
                hparams_of(arguments.preset, option)
        except ConfigError as error:
            parser.error(str(error))
        given = (arguments.folder, arguments.preset, arguments.options)
        if arguments.peak:
            peak(*given, epochs=arguments.epochs, runs=arguments.runs)
        else:
            share = arguments.eval_share
            table(*given, epochs=arguments.epochs, runs=arguments.runs, eval_share=share)
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    hparams = hparams_of(arguments.preset, arguments.one)
    if arguments.epochs:
        hparams = dataclasses.replace(hparams, epochs=arguments.epochs)
    replicas = 2 if arguments.one == "two replicas" else 1
    trained = train(
        arguments.folder,
        hparams,
        replicas=replicas,
        seed=arguments.seed,
        eval_share=arguments.eval_share,
    )
    print(json.dumps(trained))


if __name__ == "__main__":
    main()
