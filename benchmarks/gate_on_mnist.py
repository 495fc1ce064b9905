"""What the gate does to good and to poisoned models of the full MNIST, against a served one.

    python benchmarks/gate_on_mnist.py DIR [--preset fast] [--seeds 3]

DIR holds MNIST's four IDX files. Seed 0 is released first; then come, each into a copy of that
serving directory, further seeds, and trainings on labels that were changed in `train` alone. Prints
a Markdown table with what each was refused for, if it was.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from components.example_gen import idx
from components.example_gen.idx_file import LABELS, read_idx

_LABELS = "train-labels-idx1-ubyte"
_LABELS_MAGIC = 0x801

Labels = np.ndarray  # [N] uint8
Poison = Callable[[Labels], Labels]


def mislabelled(fraction: float) -> Poison:
    """That share of all labels is replaced by another class, each as likely."""

    def change(labels: Labels) -> Labels:
        rng = np.random.default_rng(0)
        chosen = rng.random(len(labels)) < fraction
        other = (labels + rng.integers(1, 10, len(labels))) % 10
        return np.where(chosen, other, labels).astype(np.uint8)

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
        both = np.flatnonzero((labels == one) | (labels == other))
        count = round(fraction * (len(labels) if of_all else len(both)))
        chosen = np.random.default_rng(0).choice(both, count, replace=False)
        changed = labels.copy()
        changed[chosen] = one + other - labels[chosen]
        return changed

    return change


POISONS: dict[str, Poison] = {
    "10 % of the labels wrong": mislabelled(0.10),
    "4 and 9 swapped in 5 % of their images": swapped(4, 9, fraction=0.05, of_all=False),
    "4 and 9 swapped in 5 % of `train`": swapped(4, 9, fraction=0.05, of_all=True),
}


def poisoned(source: Path, target: Path, poison: Poison) -> Path:
    """The four files again, with the labels of `train` changed."""
    target.mkdir()
    for path in idx.find_files(source):
        shutil.copy(path, target / path.name)
    labels = np.frombuffer(_labels(source), np.uint8)
    for path in target.glob(f"{_LABELS}*"):
        path.unlink()
    header = struct.pack(">II", _LABELS_MAGIC, len(labels))
    (target / f"{_LABELS}.gz").write_bytes(gzip.compress(header + poison(labels).tobytes()))
    return target


def _labels(source: Path) -> bytes:
    (path,) = (path for path in idx.find_files(source) if path.name.startswith(_LABELS))
    return b"".join(map(np.ndarray.tobytes, read_idx(path, LABELS, hashlib.sha256())))


def run(data: Path, serving: Path, root: Path, *words: str) -> dict[str, Any]:
    """The one JSON object of a whole run."""
    command = [
        *(sys.executable, "-m", "pipeline.cli", "run", "--json", "--dataset", f"idx:{data}"),
        *("--serving-dir", str(serving), "--pipeline-root", str(root), *words),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return dict(json.loads(done.stdout))


def rows(arguments: argparse.Namespace, work: Path) -> Iterator[str]:
    """The table's rows, one per training."""
    served, preset = work / "served", ("--preset", arguments.preset)
    first = run(arguments.folder, served, work / "root", *preset, "--seed", "0")
    yield row("seed 0, first release", first)
    cases = [
        *((f"seed {n}", arguments.folder, n) for n in range(1, arguments.seeds)),
        *(
            (name, poisoned(arguments.folder, work / f"poison {n}", poison), 1)
            for n, (name, poison) in enumerate(POISONS.items())
        ),
    ]
    for number, (name, data, seed) in enumerate(cases):
        copy = shutil.copytree(served, work / f"served {number}")
        yield row(name, run(data, copy, work / "root", *preset, "--seed", str(seed)))


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
