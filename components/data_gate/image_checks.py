"""The data gate's checks that look at pixels: shared images, and labels that look wrong.

Synopsis::

    checks = image_checks(files, summary, max_overlap=0.01, max_label_noise=0.005)

Each split is read once. Memory is bounded whatever its size: some test images are kept, and the
block means of some training images, evenly spaced over the files, whose order is random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from components.data_gate.block_means import block_means
from components.data_gate.label_noise import estimate, noise_checks
from components.data_gate.near_duplicates import NearDuplicateSearch
from components.data_gate.quick_classifier import MAX_ROWS, MAX_SIDE, leave_one_out_scores
from components.example_gen.example_facts import hash_examples, keys_of
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.images import read_split
from components.gate.check import Check

_TEST = "test"
_LEARNED_FROM = ("train", "eval")
_MAX_TEST_ROWS = 10_000
_MAX_TEST_BYTES = 128 << 20
_NAMED = 5  # duplicates, in the sentence


def image_checks(
    files: Mapping[str, Sequence[str]],
    summary: ExamplesSummary,
    *,
    max_overlap: float,
    max_label_noise: float,
) -> tuple[Check, ...]:
    """Checks that few test images also stand in train or eval, and that few labels of these are
    wrong.

    Args:
      files: of each split, gzipped TFRecord files of tf.Example.
      summary: of the examples in them.
      max_overlap: largest accepted fraction of the test images, 0..1.
      max_label_noise: largest accepted share of the labels, of all and of each class, 0..1.

    Raises:
      tf.errors.OpError: a file or an image in it cannot be read.
    """
    shape, classes = summary.image_shape, len(summary.class_names)
    few = min(_MAX_TEST_ROWS, max(1, _MAX_TEST_BYTES // math.prod(shape)))
    step = _step(summary.splits[_TEST].rows, few)
    tests = _every(step, files[_TEST], shape)
    test_images = np.concatenate([images[chosen] for images, _, chosen in tests])
    search = NearDuplicateSearch(test_images)
    step = _step(sum(summary.splits[split].rows for split in _LEARNED_FROM), MAX_ROWS)
    means, labels = [], []
    for split in _LEARNED_FROM:
        for images, given, chosen in _every(step, files[split], shape):
            search.look_in(images)
            means.append(block_means(images[chosen], MAX_SIDE))
            labels.append(given[chosen])
    known = np.concatenate(labels)  # [N]
    noise = estimate(leave_one_out_scores(np.concatenate(means), known, classes), known)
    return (
        overlap_check(summary, test_images, search.found, max_overlap),
        *noise_checks(noise, summary.class_names, max_label_noise),
    )


def _step(rows: int, at_most: int) -> int:
    """The smallest step so that every step-th of the rows makes `at_most` rows at most."""
    return -(-rows // at_most)


def _every(
    step: int, files: Sequence[str], image_shape: tuple[int, int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """Batches of images [n, H, W, C] and labels [n], and of each every `step`-th row of all."""
    first = 0
    for images, labels in read_split(files, image_shape=image_shape):
        yield images, labels, slice(-first % step, None, step)
        first += len(labels)


def overlap_check(
    summary: ExamplesSummary, looked_at: np.ndarray, found: np.ndarray, bound: float
) -> Check:
    """Checks that few enough test images also stand in train or eval.

    A model knows the label of an image that it has seen, so a leaked fraction f raises the measured
    accuracy a by up to f x (1 - a).

    Args:
      summary: has the number of all test images that stand there pixel by pixel.
      looked_at: [N, H, W, C] uint8, the test images that were compared.
      found: [N] bool, those that stand there exactly or nearly, see `near_duplicates`.
      bound: largest accepted fraction, 0..1.
    """
    exact, rows, near = summary.overlap.train_test, summary.splits[_TEST].rows, int(found.sum())
    fraction = max(exact / rows, near / len(found))
    sentence = (
        f"test: {exact} of {rows} images are also in train or eval, pixel by pixel, and {near} of "
        f"{len(found)} exactly or nearly ({fraction:.4%})"
    )
    if fraction <= bound:
        return Check("data.overlap", True, fraction, bound, f"{sentence}, at most {bound:.4%} may")
    some = looked_at[found][:_NAMED]
    hashes, _ = hash_examples(some, np.zeros(len(some), np.int64))
    names = [key.hex() for key in keys_of(hashes)] or summary.overlap.examples
    sentence += (
        f", expected at most {bound:.4%}, such as {', '.join(name[:12] for name in names)}; remove "
        "them from the training files, or set data_gate.max_train_test_overlap"
    )
    return Check("data.overlap", False, fraction, bound, sentence)
