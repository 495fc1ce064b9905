"""The data gate's checks that look at pixels: shared images, and labels that look wrong.

Each split is read once. Memory is bounded whatever its size: some test images are kept, and the
block means of some training images, evenly spaced over the files, whose order is random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from components.confident_learning import label_errors, thresholds
from components.data_gate.block_means import block_means
from components.data_gate.bounds import DataBounds
from components.data_gate.duplicates import duplicates_check
from components.data_gate.label_noise import estimate, noise_checks
from components.data_gate.near_duplicates import NearDuplicateSearch
from components.data_gate.quick_classifier import MAX_ROWS, MAX_SIDE, leave_one_out_scores
from components.data_gate.shown_label_errors import shown_label_errors
from components.example_gen import file_hashes
from components.example_gen.example_facts import Hashes, image_names
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.image_set import EVAL, TEST, TRAIN
from components.example_gen.images import read_split
from components.gate.check import Check
from components.pictures import LABEL_ERRORS, NEAR_DUPLICATES, Picture, Pictures, thumbnail
from trainer.features import ImageSpec
from trainer.host.text import percent

_LEARNED_FROM = (TRAIN, EVAL)
_MAX_TEST_ROWS = 10_000
_MAX_TEST_BYTES = 128 << 20
_NAMED = 5  # duplicates, in the sentence


def image_checks(
    split_uris: Mapping[str, str], summary: ExamplesSummary, bounds: DataBounds
) -> tuple[tuple[Check, ...], Pictures]:
    """Checks how many test images stand in train or eval, or only repeat another test image, and
    how many labels of train and eval are wrong.

    Returns the pictures of the likeliest wrong labels beside the checks.

    Args:
      split_uris: directory of each split, as ExampleGen writes it.
    """
    spec = summary.image_spec
    test_images, test_labels, test_step = _some_of_test(split_uris[TEST], summary)
    search = NearDuplicateSearch(test_images)
    step = _step(sum(summary.splits[split].rows for split in _LEARNED_FROM), MAX_ROWS)
    means, labels, all_labels = [], [], []
    for split in _LEARNED_FROM:
        for images, given, chosen in _every(step, split_uris[split], spec):
            search.look_in(images)
            means.append(block_means(images[chosen], MAX_SIDE))
            labels.append(given[chosen])
            all_labels.append(given)
    known = np.concatenate(labels)  # [N]
    places = [
        (split, row)
        for split in _LEARNED_FROM
        for row in range(0, summary.splits[split].rows, step)
    ]
    scores = leave_one_out_scores(np.concatenate(means), known, spec.num_classes)
    noise = estimate(scores, known)
    checks = (
        overlap_check(summary, test_images, search.found, bounds.max_train_test_overlap),
        duplicates_check(
            summary.overlap.within_test, summary.splits[TEST].rows, bounds.max_test_duplicates
        ),
        *noise_checks(noise, summary.class_names, bounds.max_label_noise),
    )
    hashes = {split: file_hashes.read(uri) for split, uri in split_uris.items()}
    groups = {}
    # Where no label is judged, those of hard images would be shown as errors.
    if noise.overall.is_judged:
        errors = label_errors(scores, known, thresholds(scores, known))
        groups[LABEL_ERRORS] = shown_label_errors(errors, known, places, split_uris, hashes, spec)
    others = np.concatenate(all_labels)
    if pairs := _pairs(search, test_images, test_labels, others, hashes, summary, test_step):
        groups[NEAR_DUPLICATES] = pairs
    return checks, Pictures(groups, examined=len(known))


def _some_of_test(uri: str, summary: ExamplesSummary) -> tuple[np.ndarray, np.ndarray, int]:
    """Every k-th test image, [N, H, W, C], their labels, [N], and k: as many as memory is for."""
    spec = summary.image_spec
    few = min(_MAX_TEST_ROWS, max(1, _MAX_TEST_BYTES // math.prod(spec.image_shape)))
    step = _step(summary.splits[TEST].rows, few)
    some = [(images[chosen], labels[chosen]) for images, labels, chosen in _every(step, uri, spec)]
    images, labels = map(np.concatenate, zip(*some, strict=True))
    return images, labels, step


def _pairs(
    search: NearDuplicateSearch,
    images: np.ndarray,
    labels: np.ndarray,
    others: np.ndarray,
    files: Mapping[str, Hashes],
    summary: ExamplesSummary,
    step: int,
) -> tuple[Picture, ...]:
    """Returns the test images that were found, the first ones drawn beside what they nearly are.

    `others` are the labels of all images in which they were looked for, and `files` the
    hashes of the files by split.
    """
    beside = search.partners
    rows = sorted(np.flatnonzero(search.found).tolist(), key=lambda row: row not in beside)
    theirs = {row: summary.class_names[others[search.matches[row]]] for row in rows}
    other_files = np.concatenate([files[split] for split in _LEARNED_FROM])
    return tuple(
        Picture(
            split=TEST,
            row=row * step,
            sha256=name,
            label=summary.class_names[labels[row]],
            looks_like=theirs[row] if theirs[row] != summary.class_names[labels[row]] else "",
            png=thumbnail(np.concatenate([images[row], beside[row]], axis=1))
            if row in beside
            else "",
            files=(
                *file_hashes.of_row(files[TEST], row * step),
                *file_hashes.of_row(other_files, search.matches[row]),
            ),
        )
        for row, name in zip(rows, image_names(images[rows]), strict=True)
    )


def _step(rows: int, at_most: int) -> int:
    return -(-rows // at_most)


def _every(
    step: int, split_uri: str, spec: ImageSpec
) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """Batches of images [n, H, W, C] and labels [n], and of each every `step`-th row of all."""
    first = 0
    for images, labels in read_split(split_uri, spec):
        yield images, labels, slice(-first % step, None, step)
        first += len(labels)


def overlap_check(
    summary: ExamplesSummary, looked_at: np.ndarray, found: np.ndarray, bound: float
) -> Check:
    """Checks that at most the fraction `bound` (0..1) of test also stands in train or eval.

    A model knows the label of an image that it has seen, so a leaked fraction f raises the measured
    accuracy a by up to f x (1 - a). `found`, [N] bool, marks those of the images `looked_at` that
    are in train or eval exactly or nearly; the summary counts all exact ones.
    """
    exact, rows, near = summary.overlap.train_test, summary.splits[TEST].rows, int(found.sum())
    fraction = max(exact / rows, near / len(found))
    sentence = (
        f"test: {exact:,} of {rows:,} images are also in train or eval, pixel by pixel, and "
        f"{near:,} of {len(found):,} exactly or nearly ({percent(fraction)})"
    )
    if fraction <= bound:
        sentence += f", at most {percent(bound)} is allowed"
        return Check("data.overlap", True, fraction, bound, sentence)
    names = dict.fromkeys(image_names(looked_at[found][:_NAMED])) or summary.overlap.examples
    sentence += (
        f", expected at most {percent(bound)}, such as "
        f"{', '.join(name[:12] for name in names)}; remove them from the training files, or set "
        "data_gate.max_train_test_overlap"
    )
    return Check("data.overlap", False, fraction, bound, sentence)
