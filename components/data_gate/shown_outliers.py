"""The examples for which data are refused, beyond a bound or there twice: the first ones drawn.

They are looked for in one more pass over the examples, once a check has failed.
"""

from __future__ import annotations

import dataclasses
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import numpy as np
import tensorflow as tf

from components.data_gate.bounds import DataBounds
from components.data_gate.format_checks import grey_shares
from components.example_gen import file_hashes
from components.example_gen.example_facts import are_grey, image_names
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.image_set import TEST
from components.example_gen.images import decode, read_examples
from components.pictures import DRAWN, NAMED, Picture, thumbnail
from trainer import features
from trainer.features import ImageSpec

_log = logging.getLogger(__name__)

_FILES = 5  # of one picture
_FACTS = {
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
    features.MEAN_INTENSITY: tf.io.FixedLenFeature([], tf.float32),
    features.HEIGHT: tf.io.FixedLenFeature([], tf.int64),
    features.WIDTH: tf.io.FixedLenFeature([], tf.int64),
}

# How far each of n examples is beyond a bound, [n], if more than 0: by what their features say, [n]
# by name, and by what the network sees, [n, H, W, C] uint8.
_Beyond = Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]


def shown_outliers(
    failed: Set[str],
    split_uris: Mapping[str, str],
    summary: ExamplesSummary,
    bounds: DataBounds,
    median: tuple[int, int],
) -> dict[str, tuple[Picture, ...]]:
    """Returns the examples beyond a bound by the name of the check that failed, the furthest first.

    Checks that blame no single example have none, and neither have examples that cannot be read.
    `median` is what `data.sizes` compares with.
    """

    def intensity(given: Mapping[str, np.ndarray], _: np.ndarray) -> np.ndarray:
        mean = given[features.MEAN_INTENSITY]
        return np.maximum(bounds.min_mean_intensity - mean, mean - bounds.max_mean_intensity)

    def size(given: Mapping[str, np.ndarray], _: np.ndarray) -> np.ndarray:
        areas = given[features.HEIGHT].astype(float) * given[features.WIDTH]
        return np.abs(np.log(areas / np.prod(median))) / 2 - np.log(bounds.max_size_factor)

    def grey(_: Mapping[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
        return are_grey(pixels).astype(float)

    greys = [name for name, share in grey_shares(summary).items() if share > bounds.max_grey]
    spec = summary.image_spec
    shown: dict[str, tuple[Picture, ...]] = {}
    rules: list[tuple[str, Iterable[str], _Beyond]] = [
        *((f"data.{split}.{features.MEAN_INTENSITY}", (split,), intensity) for split in split_uris),
        ("data.sizes", split_uris, size),
        ("data.grey", greys, grey),
    ]
    try:
        for name, splits, beyond in rules:
            if name in failed:
                shown[name] = _furthest({each: split_uris[each] for each in splits}, beyond, spec)
        if "data.duplicates" in failed:
            shown["data.duplicates"] = _copies(split_uris[TEST], spec)
    except tf.errors.OpError as error:
        _log.warning("the examples cannot be shown: %s", error)
    return shown


def _furthest(
    split_uris: Mapping[str, str], beyond: _Beyond, spec: ImageSpec
) -> tuple[Picture, ...]:
    found: list[tuple[float, Picture]] = []
    for split, uri in split_uris.items():
        hashes = file_hashes.read(uri)
        for first, given, pixels in _batches(uri, spec):
            by = beyond(given, pixels)
            least = found[-1][0] if len(found) == NAMED else 0.0  # what is no further is left out
            furthest = np.argsort(-by, kind="stable")[: np.count_nonzero(by > least)].tolist()
            for place, at in enumerate(furthest):
                one = _picture(split, first, at, given, pixels, spec, drawn=place < DRAWN)
                files = file_hashes.of_row(hashes, first + at)
                found.append((by[at], dataclasses.replace(one, files=files)))
            found = heapq.nlargest(NAMED, found, key=lambda one: one[0])
    ordered = [picture for _, picture in found]
    named = (dataclasses.replace(picture, png="") for picture in ordered[DRAWN:])
    return (*ordered[:DRAWN], *named)


def _copies(uri: str, spec: ImageSpec) -> tuple[Picture, ...]:
    """Returns images that occur more than once in test, each with the files of its examples."""
    rows: dict[str, list[int]] = {}
    copied: dict[str, Picture] = {}
    for first, given, pixels in _batches(uri, spec):
        for at, name in enumerate(image_names(pixels)):
            rows.setdefault(name, []).append(first + at)
            if len(rows[name]) == 2 and len(copied) < NAMED:
                drawn = len(copied) < DRAWN
                copied[name] = _picture(TEST, first, at, given, pixels, spec, drawn=drawn)
    hashes = file_hashes.read(uri)
    files = {
        name: dict.fromkeys(file for row in rows[name] for file in file_hashes.of_row(hashes, row))
        for name in copied
    }
    return tuple(
        dataclasses.replace(one, files=tuple(files[name])[:_FILES]) for name, one in copied.items()
    )


def _batches(
    uri: str, spec: ImageSpec
) -> Iterator[tuple[int, Mapping[str, np.ndarray], np.ndarray]]:
    """Yields the number of the first example, features [n] by name, and pixels [n, H, W, C]."""
    first = 0
    for records, stored, _ in read_examples(uri):
        given = {
            name: found.numpy() for name, found in tf.io.parse_example(records, _FACTS).items()
        }
        yield first, given, decode(stored, spec)
        first += len(stored)


def _picture(
    split: str,
    first: int,
    at: int,
    given: Mapping[str, np.ndarray],
    pixels: np.ndarray,
    spec: ImageSpec,
    *,
    drawn: bool,
) -> Picture:
    (name,) = image_names(pixels[at : at + 1])
    return Picture(
        split=split,
        row=first + at,
        sha256=name,
        label=spec.class_names[given[features.LABEL][at]],
        png=thumbnail(pixels[at]) if drawn else "",
    )
