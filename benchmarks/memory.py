"""Where the pixels of a training lie: in memory, or in a scratch file. Linux, as root.

    python -m benchmarks.memory [--limit-mb 600] [--times 10]
    python -m benchmarks.memory DIR [--pairs 3] [--epochs 2]

The first form trains an epoch on ten times the memory that it is allowed: images of 224x224x3, in a
control group with that limit, with `training.input=auto`. It prints what was chosen, and a Markdown
table; if the kernel kills the training, it ends with an error. The network is a tiny one, because
the way of the pixels is what is measured. The second form trains with the preset `fast` on MNIST,
whose IDX files are in DIR, in pairs of `memory` and `stream`, and prints a table with their ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tests  # noqa: F401 (before IPython, which Keras imports, puts another one on the path)

SIDE = 224
LARGE, MNIST = (SIDE, SIDE, 3), (28, 28, 1)
CLASSES = 10
_COLOURS = 80
_SHARDS = 4
OWN = [sys.executable, "-m", "benchmarks.memory"]

Rows = Sequence[tuple[bytes, int]]  # PNG and label


def flat(rows: int) -> Rows:
    """Images of one colour each; the class is its brightness."""
    import numpy as np

    from tests.trainer.samples import png

    colours = np.random.default_rng(0).integers(0, 256, (_COLOURS, 3), np.uint8)
    pixels = np.broadcast_to(colours[:, None, None, :], (_COLOURS, *LARGE))
    some = [(png(p), int(c.mean()) * CLASSES // 256) for p, c in zip(pixels, colours, strict=True)]
    return [some[number % _COLOURS] for number in range(rows)]


def mnist(folder: Path) -> Rows:
    """The training images of IDX files."""
    from components.example_gen.images import read_arrays
    from components.example_gen.opening import open_dataset
    from tests.trainer.samples import png

    images, labels = read_arrays(open_dataset(f"idx:{folder}", data_dir=None), "train")
    return [(png(image), int(label)) for image, label in zip(images, labels, strict=True)]


def write(folder: Path, rows: Rows, image_shape: tuple[int, int, int]) -> None:
    """Writes a twelfth of the rows as `eval`, the others as `train`, and the transform graph of a
    few, whose mean and deviation do not matter here.
    """
    import tensorflow as tf

    from tests.trainer.samples import serialize
    from tests.trainer.transforms import write_spec_transform

    cut = len(rows) // 12
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    for split, part in (("eval", rows[:cut]), ("train", rows[cut:])):
        (folder / split).mkdir()
        for shard in range(_SHARDS):
            path = folder / split / f"data-{shard:05d}-of-{_SHARDS:05d}.gz"
            with tf.io.TFRecordWriter(str(path), options) as writer:
                for image, label in part[shard::_SHARDS]:
                    writer.write(serialize(image, label))
    images, labels = zip(*rows[:200], strict=True)
    write_spec_transform(folder / "transform", spec(image_shape), images, labels)


def spec(image_shape: tuple[int, int, int]) -> Any:
    """Ten classes of such images."""
    from trainer.features import ImageSpec

    return ImageSpec(image_shape, tuple(map(str, range(CLASSES))))


def job(folder: Path, hparams: Any, image_shape: tuple[int, int, int], mode: str) -> Any:
    """What TFX would ask of the Trainer."""
    from trainer.job import Job

    return Job(
        train_files=[str(folder / "train" / "*.gz")],
        eval_files=[str(folder / "eval" / "*.gz")],
        transform_graph_path=str(folder / "transform"),
        custom_config={
            "spec": spec(image_shape).to_config(),
            "hparams": hparams.to_config(),
            "seed": 0,
            "replicas": 1,
            "code": "",
            "checkpoints": str(folder / "checkpoints"),
        },
        serving_model_dir=str(folder / "model"),
        model_run_dir=str(folder / "logs"),
        input=mode,
    )


def train_large(folder: Path) -> None:
    """Trains and exports in this process, and prints the line that says what `auto` chose."""
    from trainer import progress
    from trainer.architectures import ARCHITECTURES, Architecture
    from trainer.hparams import HParams
    from trainer.training import train_and_export

    def pooled(image: Any, hparams: HParams) -> Any:
        from keras import layers

        return layers.Flatten()(layers.AveragePooling2D(SIDE // 7)(image))

    class InputLine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("input:"):
                print(record.getMessage(), flush=True)

    progress.LOGGER.setLevel("INFO")
    progress.LOGGER.addHandler(InputLine())
    ARCHITECTURES.add("pooled", Architecture("means of 49 squares", 1, pooled))
    hparams = HParams(architecture="pooled", epochs=1, per_replica_batch=32, max_shift=0)
    train_and_export(job(folder, hparams, LARGE, "auto"), None)


def train_mnist(folder: Path, mode: str, epochs: int) -> dict[str, float]:
    """Trains in this process; returns seconds."""
    from pipeline.presets import fast
    from trainer import loop, training

    hparams = dataclasses.replace(fast(), epochs=epochs)
    asked = job(folder, hparams, MNIST, mode)
    strategy = training.prepare(asked)
    wall, cpu = time.monotonic(), time.process_time()
    splits = training.load_splits(asked)
    loop.train(
        hparams,
        spec=asked.spec,
        train_split=splits["train_split"],
        eval_split=splits["eval_split"],
        strategy=strategy,
        seed=0,
    )
    return {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}


class ControlGroup:
    """A group below this process's own, of version 1 or 2, with a limit of memory."""

    def __init__(self, limit_bytes: int) -> None:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        paths = {name: path for _, name, path in (line.split(":", 2) for line in lines)}
        self._version_1 = "memory" in paths
        top = Path("/sys/fs/cgroup", "memory" if self._version_1 else "")
        above = top / paths["memory" if self._version_1 else ""].strip("/")
        self.folder = above / f"tfx-mnist-{os.getpid()}"
        self.folder.mkdir()
        limit = "memory.limit_in_bytes" if self._version_1 else "memory.max"
        (self.folder / limit).write_text(str(limit_bytes))

    def peak(self) -> int:
        """Bytes at most, with the pages of files that it has read, which the kernel can free."""
        name = "memory.max_usage_in_bytes" if self._version_1 else "memory.peak"
        return int((self.folder / name).read_text())

    def anonymous(self) -> int:
        """Bytes now that are no file's."""
        lines = (self.folder / "memory.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["rss" if self._version_1 else "anon"])


def measure_large(limit_mb: int, times: int) -> None:
    """Trains on `times` as many bytes as the limit, and prints the table."""
    limit = limit_mb * 10**6
    rows = times * limit * 12 // 11 // (SIDE * SIDE * 3) + 12
    with tempfile.TemporaryDirectory(dir=".") as work:
        subprocess.run([*OWN, "--write", work, "--rows", str(rows)], check=True)
        group, anonymous, start = ControlGroup(limit), 0, time.monotonic()
        with subprocess.Popen([*OWN, "--train", work, "--group", str(group.folder)]) as process:
            while process.poll() is None:
                anonymous = max(anonymous, group.anonymous())
                time.sleep(0.2)
        seconds, peak = time.monotonic() - start, group.peak()
        group.folder.rmdir()
        if process.returncode:
            raise SystemExit(f"the training ended with {process.returncode}")
    rows -= rows // 12
    print("| `train`, decoded | limit | wall time | peak, pages of files included | without |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {rows:,} images, {rows * SIDE * SIDE * 3 / 1e9:.2f} GB | {limit_mb} MB "
        f"| {seconds:.0f} s | {peak / 1e6:.0f} MB | {anonymous / 1e6:.0f} MB |"
    )


def measure_pairs(source: Path, pairs: int, epochs: int) -> None:
    """Trains in pairs, and prints a row for each."""
    own = [*OWN, "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory(dir=".") as work:
        subprocess.run([*own, str(source), "--write", work], check=True)
        print("| pair | wall, `memory` | `stream` | ratio | CPU, `memory` | `stream` | ratio |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for pair in range(pairs):
            found = {}
            for mode in ("memory", "stream") if pair % 2 else ("stream", "memory"):
                words = [*own, str(source), "--train", work, "--mode", mode]
                done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
                found[mode] = json.loads(done.stdout.splitlines()[-1])
            cells = [str(pair + 1)]
            for key in ("wall", "cpu"):
                memory, stream = found["memory"][key], found["stream"][key]
                cells += [f"{memory:.1f} s", f"{stream:.1f} s", f"{stream / memory:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Writes or trains when asked by itself, otherwise prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--limit-mb", type=int, default=600)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    for name in ("--write", "--train", "--group"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if given.group:  # before TensorFlow takes any memory
        (given.group / "cgroup.procs").write_text(str(os.getpid()))
    if given.write:
        rows = mnist(given.folder) if given.folder else flat(given.rows)
        write(given.write, rows, MNIST if given.folder else LARGE)
    elif given.train and given.folder:
        print(json.dumps(train_mnist(given.train.absolute(), given.mode, given.epochs)))
    elif given.train:
        train_large(given.train.absolute())
    elif given.folder:
        measure_pairs(given.folder, given.pairs, given.epochs)
    else:
        measure_large(given.limit_mb, given.times)


if __name__ == "__main__":
    main()
