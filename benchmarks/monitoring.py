"""How often `tfx-mnist monitor` cries wolf, and what it finds, on the test split of a release.

    python benchmarks/monitoring.py SERVING_DIR --dataset mnist_sample

Random halves of the test split are compared with the whole, as the release records it, and with
their other halves, which are as independent as served requests are. Then come requests that have
changed: 200 of the images inverted, brighter by 10 and by 40 of 255, and with one class drawn five
times as often.
"""

import argparse
from pathlib import Path

import numpy as np

from components.example_gen.image_set import TEST
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from components.monitoring.counts import Summary, summarize
from components.monitoring.drift import Drift, compare
from components.serving_check.classifier import Classifier
from components.serving_dir import find
from trainer.host.text import p_value

SPLITS = 200
REQUESTS = 200
LEVEL, TOLERANCE = 0.05, 0.02  # the command's defaults


def summary_of(pixels: np.ndarray, probabilities: np.ndarray) -> Summary:
    """Returns what monitor counts of images and their predictions."""
    size = f"{pixels.shape[1]}x{pixels.shape[2]}"
    intensities = pixels.mean(axis=(1, 2, 3)) / 255.0
    return summarize(probabilities, intensities=intensities, sizes=[size] * len(pixels))


def compared(released: Summary, observed: Summary, tolerance: float) -> Drift:
    """Compares as the command does."""
    names = [str(at) for at in range(len(released.classes))]
    return compare(released, observed, level=LEVEL, tolerance=tolerance, class_names=names)


def main() -> None:
    """Prints the shares of false alarms, and what is found of each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("serving", type=Path)
    parser.add_argument("--dataset", default="mnist_sample")
    options = parser.parse_args()
    version = find(options.serving)
    released = Summary.from_json(version.release["reference"])
    pixels, labels = read_arrays(open_dataset(options.dataset, data_dir=None), TEST)
    classifier = Classifier(version.path, [str(at) for at in range(len(released.classes))])
    probabilities = np.concatenate(
        [classifier.probabilities(part) for part in np.array_split(pixels, len(pixels) // 250)]
    )
    print(f"{len(pixels):,} test images; the record equals what is counted here: ", end="")
    print(summary_of(pixels, probabilities) == released)
    rng = np.random.default_rng(0)
    for tolerance in (TOLERANCE, 0.0):
        alarms = [0, 0]
        for _ in range(SPLITS):
            order = rng.permutation(len(pixels))
            first, second = np.array_split(order, 2)
            halves = [summary_of(pixels[half], probabilities[half]) for half in (first, second)]
            alarms[0] += compared(released, halves[0], tolerance).found
            alarms[1] += compared(halves[1], halves[0], tolerance).found
        shares = [f"{count / SPLITS:.1%}" for count in alarms]
        print(
            f"false alarms, tolerance {tolerance:g}: halves against the whole {shares[0]}, ", end=""
        )
        print(f"against the other half {shares[1]}, of {SPLITS}")
    chosen = rng.permutation(len(pixels))[:REQUESTS]
    weights = np.where(labels == 3, 5.0, 1.0)
    heavy = rng.choice(len(pixels), REQUESTS, p=weights / weights.sum())
    brighter = {
        f"brighter by {by}": np.minimum(pixels[chosen].astype(int) + by, 255).astype(np.uint8)
        for by in (10, 40)
    }
    changed = {
        "unchanged": pixels[chosen],
        "inverted": 255 - pixels[chosen],
        **brighter,
        "one class five times as often": pixels[heavy],
    }
    for name, images in changed.items():
        drift = compared(released, summary_of(images, classifier.probabilities(images)), TOLERANCE)
        found = [f"{one.name} ({p_value(one.p_value)})" for one in drift.tests if one.drifted]
        print(f"{name}, {REQUESTS} requests: {', '.join(found) or 'no drift'}")


if __name__ == "__main__":
    main()
