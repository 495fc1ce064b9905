"""The pictures of the model's mistakes on the test split, and of its likely label errors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from components import pictures
from components.confident_learning import label_errors
from components.evaluation.mistakes import Mistake, Mistakes
from components.example_gen import file_hashes
from components.example_gen.example_facts import Hashes, image_names
from components.example_gen.image_set import TEST
from components.example_gen.images import decode, read_examples
from components.pictures import GAINED, LABEL_ERRORS, LOST, WRONG, Picture, Pictures
from trainer.features import ImageSpec

# Row of the split and stored image, by the hexadecimal SHA-256 of the latter.
_Images = Mapping[str, tuple[int, bytes]]


def shown_mistakes(split_uri: str, mistakes: Mistakes, spec: ImageSpec) -> Pictures:
    """Draws the mistakes that the Evaluator kept of this split; others are left out."""
    groups = {kind: mistakes.ranked(kind) for kind in (WRONG, LOST, GAINED)}
    groups[LABEL_ERRORS] = _label_errors(mistakes, spec.num_classes)
    wanted = {each.digest for group in groups.values() for each in group}
    images: dict[str, tuple[int, bytes]] = {}
    rows = 0
    for _, stored, _ in read_examples(split_uri):
        for image in stored:
            digest = hashlib.sha256(image).hexdigest()
            if digest in wanted:
                images.setdefault(digest, (rows, image))
            rows += 1
    hashes = file_hashes.read(split_uri)
    return Pictures(
        {kind: _drawn(group, images, hashes, spec) for kind, group in groups.items()},
        examined=rows,
        bins=tuple(mistakes.bins()),
    )


def _label_errors(mistakes: Mistakes, classes: int) -> list[Mistake]:
    """The wrong examples whose labels are likely errors, by the model's probabilities."""
    wrong = [each for each in mistakes.ranked(WRONG) if np.isfinite(each.candidate).all()]
    if not wrong:
        return []
    scores = np.array([each.candidate for each in wrong])
    labels = np.array([each.label for each in wrong])
    found = label_errors(scores, labels, mistakes.thresholds(classes))
    return [wrong[row] for row in found.rows]


def _drawn(
    mistakes: Sequence[Mistake],
    images: _Images,
    hashes: Hashes,
    spec: ImageSpec,
) -> tuple[Picture, ...]:
    there = [each for each in mistakes if each.digest in images]
    if not there:
        return ()
    stored = np.array([images[each.digest][1] for each in there], object)
    pixels = decode(stored, spec)  # [n, H, W, C] uint8
    drawn = []
    for mistake, image, name in zip(there, pixels, image_names(pixels), strict=True):
        row, _ = images[mistake.digest]
        candidate, baseline = (
            pictures.answers(np.array(given), spec.class_names)
            for given in (mistake.candidate, mistake.baseline)
        )
        label = spec.class_names[mistake.label]
        said = [given[0][0] for given in (candidate, baseline) if given]
        drawn.append(
            Picture(
                split=TEST,
                row=row,
                sha256=name,
                label=label,
                looks_like=next((each for each in said if each != label), ""),
                margin=mistake.margin / 1e6,
                png=pictures.thumbnail(image),
                candidate=candidate,
                baseline=baseline,
                files=file_hashes.of_row(hashes, row),
            )
        )
    return tuple(drawn)
