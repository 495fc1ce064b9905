"""How often the data gate's checks of images err: false alarms and power, as Markdown tables.

    python benchmarks/data_checks.py                     # the embedded sample
    python benchmarks/data_checks.py DIR --seeds 5       # IDX files, such as MNIST's

Label noise is put into the training split alone, and the test split is not asked for it. For near-
duplicates, changed copies of the test images are put before the training images.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from components.data_gate.block_means import block_means
from components.data_gate.label_noise import estimate, noise_checks
from components.data_gate.near_duplicates import NearDuplicateSearch
from components.data_gate.quick_classifier import MAX_ROWS, MAX_SIDE, leave_one_out_scores
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from pipeline.dataset_defaults import defaults_of

BATCH_ROWS = 1000


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def shuffled(share: float) -> Change:
    """That share of the labels is shuffled."""

    def change(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
        changed = labels.copy()
        changed[rows] = rng.permutation(labels[rows])
        return changed

    return change


def swapped(share: float, a: int, b: int) -> Change:
    """That share of each of two classes gets the label of the other."""

    def change(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        changed = labels.copy()
        for label, other in ((a, b), (b, a)):
            rows = np.flatnonzero(labels == label)
            changed[rng.choice(rows, round(share * len(rows)), replace=False)] = other
        return changed

    return change


NOISES = {
    "none": lambda labels, rng: labels,
    "2 % shuffled": shuffled(0.02),
    "5 % shuffled": shuffled(0.05),
    "10 % shuffled": shuffled(0.1),
    "20 % shuffled": shuffled(0.2),
    "5 % of 4 and 9 swapped": swapped(0.05, 4, 9),
    "10 % of 4 and 9 swapped": swapped(0.1, 4, 9),
}


def label_noise(images: np.ndarray, labels: np.ndarray, bound: float, seeds: int) -> Iterator[str]:
    """A row per kind of noise; every seed draws the noise, and the rows that are looked at."""
    classes = int(labels.max()) + 1
    yield "| labels of train | wrong | estimate | refused for all | for a class | either | CPU s |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, change in NOISES.items():
        rows = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            looked_at = rng.permutation(len(labels))[:: -(-len(labels) // MAX_ROWS)]
            given = change(labels, rng)
            began = time.process_time()
            means = block_means(images[looked_at], MAX_SIDE)
            noise = estimate(
                leave_one_out_scores(means, given[looked_at], classes), given[looked_at]
            )
            overall, of_class = noise_checks(noise, tuple(map(str, range(classes))), bound)
            alarms = [not overall.passed, not of_class.passed]
            rows.append(
                (
                    (given != labels).mean(),
                    noise.overall.share,
                    *alarms,
                    any(alarms),
                    time.process_time() - began,
                )
            )
        wrong, share, *refused, seconds = np.mean(rows, axis=0)
        counts = " | ".join(f"{round(part * seeds)} of {seeds}" for part in refused)
        yield f"| {name} | {wrong:.2%} | {share:.2%} | {counts} | {seconds:.1f} |"


def one_pixel(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of each image's pixels is inverted."""
    every = np.arange(len(images))
    rows, columns = (rng.integers(0, side, len(images)) for side in images.shape[1:3])
    changed = images.copy()
    changed[every, rows, columns] = 255 - changed[every, rows, columns]
    return changed


def uniform(most: int) -> Change:
    """Noise of -most to most."""
    return lambda images, rng: _bytes(images + rng.integers(-most, most + 1, images.shape))


def normal(deviation: float) -> Change:
    """Noise of that standard deviation."""
    return lambda images, rng: _bytes(images + rng.normal(0, deviation, images.shape))


def jpeg(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compressed and decoded again."""
    changed = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, "JPEG", quality=90)
        changed.append(np.asarray(Image.open(buffer)).reshape(image.shape))
    return np.stack(changed)


def patch(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The upper left corner is white."""
    changed = images.copy()
    changed[:, :3, :3] = 255
    return changed


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


COPIES = {
    "as they are": lambda images, rng: images,
    "one pixel inverted": one_pixel,
    "uniform noise of ±2": uniform(2),
    "uniform noise of ±10": uniform(10),
    "normal noise, deviation 5": normal(5),
    "normal noise, deviation 10": normal(10),
    "10 brighter": lambda images, rng: _bytes(images.astype(int) + 10),
    "JPEG, quality 90": jpeg,
    "a white patch of 3x3 pixels": patch,
    "moved by one pixel": lambda images, rng: np.roll(images, 1, axis=2),
    "mirrored": lambda images, rng: images[:, :, ::-1],
}


def near_duplicates(train: np.ndarray, test: np.ndarray) -> Iterator[str]:
    """A row per kind of copy; the training images come first, so that a copy must be nearer."""
    began = time.process_time()
    clean = _search(test, train)
    seconds = time.process_time() - began
    yield f"Without copies {clean.found.sum()} of {len(test)} are found; {seconds:.1f} CPU s."
    yield ""
    yield "| copies of test in train | found |"
    yield "| --- | --- |"
    for name, change in COPIES.items():
        search = _search(test, train, change(test, np.random.default_rng(0)))
        yield f"| {name} | {search.found.mean():.1%} |"


def _search(test: np.ndarray, *others: np.ndarray) -> NearDuplicateSearch:
    search = NearDuplicateSearch(test)
    for images in others:
        for start in range(0, len(images), BATCH_ROWS):
            search.look_in(images[start : start + BATCH_ROWS])
    return search


def main() -> None:
    """Prints the tables of one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", help="of IDX files; else the sample")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    text = f"idx:{arguments.directory}" if arguments.directory else "mnist_sample"
    data = open_dataset(text, data_dir=None)
    (train, labels), (test, _) = read_arrays(data, "train"), read_arrays(data, "test")
    order = np.random.default_rng(0).permutation(len(test))
    bound = defaults_of(data.info.name).max_label_noise
    print(f"### {data.info.name}: {len(train)} in train, bound {bound:.2%}\n")
    for line in label_noise(train, labels, bound, arguments.seeds):
        print(line, flush=True)
    print()
    for line in near_duplicates(train, test[order]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
