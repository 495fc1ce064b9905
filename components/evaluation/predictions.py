"""What models say of a data set's test split, read from the source without a pipeline.

Synopsis::

    answers = ask(builder, dataset, [candidate, served])
    evidence = answers.count(dataset.class_names, policy.slices)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds

from components.evaluation.counting import count
from components.evaluation.saved_model import Model
from components.example_gen import records
from components.example_gen.arrays import TEST
from components.example_gen.content import digest_of, hash_examples
from components.example_gen.dataset import DatasetInfo
from components.example_gen.features import find_keys
from components.gate.evidence import Evidence
from components.gate.slices import Bands
from trainer import features

# What an example holds one number of, so that slices can be cut by it.
NUMBERS = (
    features.CHANNELS,
    features.HEIGHT,
    features.LABEL,
    features.MEAN_INTENSITY,
    features.WIDTH,
)

_BATCH = 250  # images at once: what a large network makes of large ones must fit into memory


def require_numbers(slices: Sequence[Bands]) -> None:
    """Refuses slices by what the examples do not hold.

    Raises:
      ValueError: one line.
    """
    for bands in slices:
        if bands.feature not in NUMBERS:
            raise ValueError(
                f"gate.slices names the feature {bands.feature!r}, expected one number in each "
                f"example; the examples have {', '.join(NUMBERS)}"
            )


@dataclasses.dataclass(frozen=True)
class Answers:
    """Examples, and what one or two models said of them.

    Attributes:
      labels: [N] int64.
      mean_intensity: [N] float32, 0..1.
      image_shape: (height, width, channels).
      digest: of the split, see `content.digest_of`.
      probabilities: [N, K] of the candidate and, where there is one, of what it is compared with.
    """

    labels: np.ndarray
    mean_intensity: np.ndarray
    image_shape: tuple[int, int, int]
    digest: str
    probabilities: Sequence[np.ndarray]

    def count(self, class_names: Sequence[str], slices: Sequence[Bands]) -> Evidence:
        """Counts what the gate decides by.

        Args:
          class_names: in the order of the labels.
          slices: by features among `NUMBERS`.
        """
        candidate, *others = self.probabilities
        height, width, channels = (np.full(len(self.labels), size) for size in self.image_shape)
        return count(
            self.labels,
            candidate,
            baseline=others[0] if others else None,
            class_names=class_names,
            slices=slices,
            numbers={
                features.LABEL: self.labels,
                features.MEAN_INTENSITY: self.mean_intensity,
                features.HEIGHT: height,
                features.WIDTH: width,
                features.CHANNELS: channels,
            },
        )


def ask(
    builder: tfds.core.DatasetBuilder, dataset: DatasetInfo, models: Sequence[Model]
) -> Answers:
    """Reads the test split once, and asks each model about each image.

    Args:
      builder: prepared.
      dataset: its description.
      models: the candidate and, maybe, what it is compared with.

    Raises:
      DataError: the split cannot be used.
      ModelRefused: a model fails, or gives no probabilities.
    """
    source = find_keys(builder.info, dataset.spec)
    labels, hashes, sums = [], [], []
    answers: list[list[np.ndarray]] = [[] for _ in models]
    for shard in records.shards_of(builder, TEST):
        for rows in records.read_rows(builder, shard, source):
            labels.append(rows.labels)
            hashes.append(hash_examples(rows.pixels, rows.labels)[1])
            sums.append(records.sums_of(rows.pixels))
            for model, answered in zip(models, answers, strict=True):
                answered.extend(_in_batches(model, rows))
    return Answers(
        labels=np.concatenate(labels),
        mean_intensity=records.mean_intensities(np.concatenate(sums), dataset.image_shape),
        image_shape=dataset.image_shape,
        digest=digest_of(np.concatenate(hashes)),
        probabilities=[np.concatenate(answered) for answered in answers],
    )


def _in_batches(model: Model, rows: records.Rows) -> Iterator[np.ndarray]:
    for at in range(0, len(rows.labels), _BATCH):
        yield model.probabilities(rows.pngs[at : at + _BATCH], rows.pixels[at : at + _BATCH])
