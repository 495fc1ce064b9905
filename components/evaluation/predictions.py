"""A data set's test split as models see it, read from the source without a pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from components.evaluation import counting
from components.evaluation.saved_model import Model
from components.example_gen.example_facts import (
    digest_of,
    hash_examples,
    hash_images,
    keys_of,
    sums_of,
)
from components.example_gen.image_set import TEST, ImageSet
from components.example_gen.images import features_of, read_rows
from components.gate.evidence import Evidence
from components.gate.slices import Slices
from trainer import features

_BATCH = 250  # images at once: the activations of a large network have to fit into memory


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Examples, and the predictions of one or two models.

    Attributes:
      features: [N] for each of `DatasetInfo.features`, as the examples of a run hold them.
      digest: of the split, see `example_facts.digest_of`.
      repeated: the number of images that only repeat another one, pixel by pixel.
      probabilities: [N, K] of the candidate and, where there is one, of the baseline.
    """

    features: Mapping[str, np.ndarray]
    digest: str
    repeated: int
    probabilities: Sequence[np.ndarray]

    def evidence(self, class_names: Sequence[str], slices: Sequence[Slices]) -> Evidence:
        """Counts what the gate decides by; the class names are in the order of the labels."""
        (candidate, *others) = self.probabilities
        members: dict[str, np.ndarray] = {}
        for cut in slices:
            members |= counting.members(cut, self.features[cut.feature])
        return counting.from_arrays(
            self.features[features.LABEL],
            candidate,
            others[0] if others else None,
            members,
            class_names=class_names,
        )


def predict(image_set: ImageSet, models: Sequence[Model]) -> Predictions:
    """Reads the test split once, and has each model predict each image: the candidate comes first.

    Raises DataError if the split cannot be used, and what `Model.probabilities` raises.
    """
    columns, hashes = [], []
    different: set[bytes] = set()
    predicted: list[list[np.ndarray]] = [[] for _ in models]
    for shard in image_set.shards_of(TEST):
        for rows in read_rows(image_set, shard):
            columns.append(features_of(rows, sums_of(rows.pixels)))
            different.update(keys_of(hash_images(rows.pixels)))
            hashes.append(hash_examples(rows.pixels, rows.labels))
            for model, batches in zip(models, predicted, strict=True):
                batches.extend(_in_batches(model, rows.images, rows.pixels))
    return Predictions(
        features={name: np.concatenate([one[name] for one in columns]) for name in columns[0]},
        digest=digest_of(np.concatenate(hashes)),
        repeated=sum(map(len, hashes)) - len(different),
        probabilities=[np.concatenate(batches) for batches in predicted],
    )


def _in_batches(model: Model, images: np.ndarray, pixels: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(images), _BATCH):
        yield model.probabilities(images[at : at + _BATCH], pixels[at : at + _BATCH])
