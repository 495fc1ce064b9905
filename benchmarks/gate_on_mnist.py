"""What the gate does to good and to poisoned models of the full MNIST, against a served one.

    python benchmarks/gate_on_mnist.py DIR [--preset fast] [--seeds 3]

DIR holds MNIST's four IDX files. Seed 0 is released first; then come, each into a copy of that
serving directory, further seeds, and trainings on labels that were changed in `train` alone, which
the data gate lets pass here. Prints a Markdown table with what each was refused for, if it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import label_errors
import numpy as np
from processes import pipeline_command

from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset

_TRAINED = ("--set", "data_gate.max_label_noise=1")  # the data gate would stop it first

Labels = np.ndarray  # [N] int64
Poison = Callable[[Labels], Labels]


def mislabelled(fraction: float) -> Poison:
    """That share of all labels is replaced by another class, each as likely."""

    def change(labels: Labels) -> Labels:
        rng = np.random.default_rng(0)
        chosen = rng.random(len(labels)) < fraction
        other = (labels + rng.integers(1, 10, len(labels))) % 10
        return np.where(chosen, other, labels)

    return change


def swapped(one: int, other: int, *, fraction: float, of_all: bool) -> Poison:
    """Of some examples of two classes the labels are exchanged.

    Args:
      one: a class.
      other: another class.
      fraction: how many of them.
      of_all: whether it is a fraction of the whole split, or of these two classes.
    """

    def change(labels: Labels) -> Labels:
        rows = len(labels) if of_all else np.isin(labels, (one, other)).sum()
        rng = np.random.default_rng(0)
        return label_errors.swapped(labels, one, other, round(fraction * rows), rng)

    return change


POISONS: dict[str, Poison] = {
    "10 % of the labels wrong": mislabelled(0.10),
    "4 and 9 swapped in 5 % of their images": swapped(4, 9, fraction=0.05, of_all=False),
    "4 and 9 swapped in 5 % of `train`": swapped(4, 9, fraction=0.05, of_all=True),
}


def poisoned(source: Path, target: Path, poison: Poison) -> Path:
    """The four files again, with the labels of `train` changed."""
    _, labels = read_arrays(open_dataset(f"idx:{source}", data_dir=None), "train")
    label_errors.write_relabelled(target, source, poison(labels))
    return target


def run(data: Path, serving: Path, root: Path, *words: str) -> dict[str, Any]:
    """The one JSON object of a whole run."""
    command = pipeline_command(data, str(root), "--serving-dir", str(serving), *words)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return dict(json.loads(done.stdout))


def rows(arguments: argparse.Namespace, work: Path) -> Iterator[str]:
    """The table's rows, one per training."""
    served, preset = work / "served", ("--preset", arguments.preset)
    first = run(arguments.folder, served, work / "root", *preset, "--seed", "0")
    yield row("seed 0, first release", first)
    cases = [
        *((f"seed {n}", arguments.folder, n, ()) for n in range(1, arguments.seeds)),
        *(
            (name, poisoned(arguments.folder, work / f"poison {n}", poison), 1, _TRAINED)
            for n, (name, poison) in enumerate(POISONS.items())
        ),
    ]
    for number, (name, data, seed, more) in enumerate(cases):
        copy = shutil.copytree(served, work / f"served {number}")
        yield row(name, run(data, copy, work / "root", *preset, "--seed", str(seed), *more))


def row(name: str, result: dict[str, Any]) -> str:
    """What came of one training."""
    checks = {check["name"]: check for check in result["gate"]["checks"]}
    failed = [name for name, check in checks.items() if not check["passed"]]
    pairs = checks["not_worse"]["sentence"].partition(" of ")[0] if "not_worse" in checks else ""
    metrics = result["metrics"]
    return (
        f"| {name} | {metrics['accuracy']:.4f} | {metrics['cross_entropy']:.4f} | {pairs} "
        f"| {result['outcome']} | {', '.join(failed)} |"
    )


def main() -> None:
    """Runs them all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| training | accuracy | cross-entropy | against seed 0 | outcome | failed checks |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as work:
        for line in rows(arguments, Path(work)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
