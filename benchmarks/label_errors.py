"""How many of the label errors that the report lists first are errors: precision, as Markdown.

    python benchmarks/label_errors.py DIR --out poisoned      # IDX files, such as MNIST's
    tfx-mnist run --preset fast --dataset idx:poisoned        # its report has the same list

The labels of two classes are exchanged in a share of their images of the training files; the test
files stay as they are. The list is made by the data gate's own code. That MNIST has wrong labels of
its own counts against the precision.
"""

import argparse
import gzip
import struct
import time
from pathlib import Path

import numpy as np

from components.confident_learning import label_errors, thresholds
from components.data_gate.block_means import block_means
from components.data_gate.quick_classifier import MAX_ROWS, MAX_SIDE, leave_one_out_scores
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset

FIRST = (20, 100)


def swapped(labels: np.ndarray, a: int, b: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """`rows` images of the two classes, drawn at random, get the label of the other class."""
    changed = labels.copy()
    either = np.flatnonzero((labels == a) | (labels == b))
    chosen = rng.choice(either, rows, replace=False)
    changed[chosen] = a + b - labels[chosen]
    return changed


def precision(images: np.ndarray, given: np.ndarray, true: np.ndarray) -> tuple[list[float], int]:
    """The precision among the first of the list, and the wrong labels among those looked at."""
    looked_at = np.arange(0, len(given), -(-len(given) // MAX_ROWS))
    means, labels = block_means(images[looked_at], MAX_SIDE), given[looked_at]
    scores = leave_one_out_scores(means, labels, int(true.max()) + 1)
    found = label_errors(scores, labels, thresholds(scores, labels))
    wrong = labels != true[looked_at]
    return [float(wrong[found.rows[:first]].mean()) for first in FIRST], int(wrong.sum())


def write_relabelled(folder: Path, source: Path, labels: np.ndarray) -> None:
    """Writes the source's IDX files with other training labels."""
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "t10k-images-idx3", "t10k-labels-idx1"):
        (found,) = source.glob(f"{name}*")
        (folder / found.name).symlink_to(found.resolve())
    content = struct.pack(">II", 0x801, len(labels)) + labels.astype(np.uint8).tobytes()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))


def main() -> None:
    """Prints a table, and writes the data set of the first seed and the first share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="of IDX files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="for the data set with 5 %% of train exchanged")
    arguments = parser.parse_args()
    images, labels = read_arrays(open_dataset(f"idx:{arguments.directory}", data_dir=None), "train")
    either = int(((labels == 4) | (labels == 9)).sum())
    print(
        "| 4 and 9 exchanged | wrong of those looked at | precision, first 20 | first 100 | CPU s |"
    )
    print("| --- | --- | --- | --- | --- |")
    shares = {
        "5 % of `train`": round(0.05 * len(labels)),
        "5 % of their images": round(0.05 * either),
        "1 % of their images": round(0.01 * either),
    }
    for name, rows in shares.items():
        results, began = [], time.process_time()
        for seed in range(arguments.seeds):
            rng = np.random.default_rng(seed)
            given = swapped(labels, 4, 9, rows, rng)
            if arguments.out and not arguments.out.exists():
                write_relabelled(arguments.out, arguments.directory, given)
            order = rng.permutation(len(labels))
            found, wrong = precision(images[order], given[order], labels[order])
            results.append([wrong, *found])
        seconds = (time.process_time() - began) / arguments.seeds
        wrong, *found = np.mean(results, axis=0)
        worst = np.min(results, axis=0)[1:]
        cells = " | ".join(
            f"{mean:.1%} ({low:.0%} at least)" for mean, low in zip(found, worst, strict=True)
        )
        print(f"| {name} | {wrong:.0f} | {cells} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
