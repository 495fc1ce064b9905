"""The pictures of examples of `train` and `eval` whose labels are likely errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components import pictures
from components.confident_learning import LabelErrors
from components.data_gate.quick_classifier import Labels
from components.example_gen import file_hashes
from components.example_gen.example_facts import Hashes, image_names
from components.example_gen.images import decode, read_examples
from components.pictures import Picture
from trainer.features import ImageSpec

SHOWN = 100

Place = tuple[str, int]  # split, row


def shown_label_errors(
    errors: LabelErrors,
    labels: Labels,
    places: Sequence[Place],
    split_uris: Mapping[str, str],
    hashes: Mapping[str, Hashes],
    spec: ImageSpec,
) -> tuple[Picture, ...]:
    """Draws the likeliest of the errors, whose rows index `labels` and `places`.

    `hashes` are those of the files by split, see `file_hashes`.
    """
    chosen = [int(row) for row in errors.rows[:SHOWN]]
    images = _stored(split_uris, {places[row] for row in chosen})
    drawn = []
    for row, looks_like, margin in zip(chosen, errors.looks_like, errors.margins, strict=False):
        stored = np.array([images[places[row]]], object)
        (pixels,) = decode(stored, spec)  # [H, W, C] uint8
        (name,) = image_names(pixels[np.newaxis])
        drawn.append(
            Picture(
                split=places[row][0],
                row=places[row][1],
                sha256=name,
                label=spec.class_names[labels[row]],
                looks_like=spec.class_names[looks_like],
                margin=float(margin),
                png=pictures.thumbnail(pixels),
                files=file_hashes.of_row(hashes[places[row][0]], places[row][1]),
            )
        )
    return tuple(drawn)


def _stored(split_uris: Mapping[str, str], wanted: set[Place]) -> dict[Place, bytes]:
    """Reads the stored images at these places, each split up to the last one."""
    found: dict[Place, bytes] = {}
    for split, uri in split_uris.items():
        rows = {row for name, row in wanted if name == split}
        first = 0
        for _, stored, _ in read_examples(uri) if rows else ():
            within = [row for row in rows if first <= row < first + len(stored)]
            found |= {(split, row): stored[row - first] for row in within}
            first += len(stored)
            if first > max(rows):
                break
    return found
