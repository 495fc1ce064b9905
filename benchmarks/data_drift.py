"""How often one half of a data set is refused as drift against the other, and which changes are.

    python benchmarks/data_drift.py                        # the embedded sample
    python benchmarks/data_drift.py idx:DIR --splits 200   # IDX files, such as MNIST's

Train alone is looked at. Each split is random; changes are made to the second half of the first.
"""

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from components.data_gate.bounds import DataGateConfig
from components.data_gate.drift_checks import intensity_check
from components.example_gen.example_facts import facts_of
from components.example_gen.examples_summary import SplitSummary
from components.example_gen.image_set import TRAIN, DatasetInfo
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from components.example_gen.totals import split_summary, totals_of

BOUND = DataGateConfig().max_intensity_drift
CHANGES = {
    "as they are": lambda images: images,
    "inverted": lambda images: 255 - images,
    "30 added to each pixel": lambda images: np.minimum(images, 225) + 30,
    "blurred, 3 x 3 box": lambda images: ndimage.uniform_filter(images, (0, 3, 3, 0)),
    "blurred, Gaussian of 0.5 pixels": lambda images: ndimage.gaussian_filter(
        images, (0, 0.5, 0.5, 0)
    ),
    "moved by one pixel": lambda images: np.roll(images, 1, axis=2),
    "moved by two pixels": lambda images: np.roll(images, 2, axis=2),
    "mirrored": lambda images: images[:, :, ::-1],
    "upside down": lambda images: images[:, ::-1],
}


def alarms(info: DatasetInfo, facts: np.ndarray, splits: int) -> tuple[int, float]:
    """The number of splits whose halves are called drift, and the largest distance of any."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(splits):
        halves = np.array_split(rng.permutation(len(facts)), 2)
        then, now = (_summary(info, facts[half]) for half in halves)
        found.append(intensity_check(now, then, BOUND))
    return sum(not one.passed for one in found), max(float(one.actual or 0) for one in found)


def changes(info: DatasetInfo, images: np.ndarray) -> Iterator[str]:
    """A row per change, with what the gate says with and without the contrasts."""
    first, second = np.array_split(np.random.default_rng(0).permutation(len(images)), 2)
    before = _summary(info, _facts(images[first]))
    for name, change in CHANGES.items():
        now = _summary(info, _facts(change(images[second])))
        whole = intensity_check(now, before, BOUND)
        without = intensity_check(now, dataclasses.replace(before, contrasts=()), BOUND)
        verdict = "passed" if whole.passed else "refused"
        yield f"| {name} | {whole.actual:.3f} | {without.actual:.3f} | {verdict} |"


def _facts(images: np.ndarray) -> np.ndarray:
    return facts_of(images, np.zeros(len(images), np.int64))


def _summary(info: DatasetInfo, facts: np.ndarray) -> SplitSummary:
    return split_summary(info, totals_of(facts, info.image_shape), "0" * 64)


def main() -> None:
    """Prints the number of false alarms, and the table of changes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="mnist_sample")
    parser.add_argument("--splits", type=int, default=200)
    arguments = parser.parse_args()
    data = open_dataset(arguments.dataset, data_dir=None)
    images, _ = read_arrays(data, TRAIN)
    count, largest = alarms(data.info, _facts(images), arguments.splits)
    print(f"{count} of {arguments.splits} random halves refused; largest distance {largest:.4f}\n")
    print(
        "| the second half | distance | without contrasts | bound 0.1 |\n| --- | --- | --- | --- |"
    )
    for line in changes(data.info, images):
        print(line, flush=True)


if __name__ == "__main__":
    main()
