"""Records -> tensors in memory -> batches.

Synopsis::

    split = load_split(files, tft_output)                  # decoded and normalized once
    for images, labels in training_batches(split, batch=256, epochs=5, seed=1, augment=...): ...

The transform graph is applied here, once per example and run, and its result is kept in memory:
see docs/decisions/0001-transform-in-the-input-pipeline.md for what was measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from trainer import features
from trainer.augmentation import Augment
from trainer.transform_graph import TransformGraph

_DECODE_BATCH = 1024  # examples per call of the transform graph


@dataclasses.dataclass(frozen=True)
class Split:
    """A transformed split in memory.

    Attributes:
      images: [N, H, W, C] float32, normalized.
      labels: [N, num_classes] float32, one-hot.
    """

    images: tf.Tensor
    labels: tf.Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])


def load_split(file_patterns: Sequence[str], tft_output: tft.TFTransformOutput) -> Split:
    """Reads the gzipped TFRecords of one split in the order of their names and transforms them.

    Raises:
      ValueError: the files hold no example.
    """
    files = sorted(file for pattern in file_patterns for file in tf.io.gfile.glob(pattern))
    spec = tft_output.raw_feature_spec()
    spec = {name: spec[name] for name in (features.IMAGE, features.LABEL)}
    graph = TransformGraph(tft_output)

    @tf.autograph.experimental.do_not_convert
    def transform(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        transformed = graph(tf.io.parse_example(serialized, spec))
        return transformed[features.NORMALIZED_IMAGE], transformed[features.ONE_HOT_LABEL]

    dataset = (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_DECODE_BATCH)
        .map(transform, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(1)
    )
    batches = list(dataset)
    if not batches:
        raise ValueError(f"no examples in {', '.join(file_patterns)}: is the split empty?")
    return Split(
        images=tf.concat([images for images, _ in batches], axis=0),
        labels=tf.concat([labels for _, labels in batches], axis=0),
    )


def training_batches(
    split: Split,
    *,
    batch: int,
    epochs: int,
    seed: int,
    augment: Augment,
    epochs_done: int = 0,
) -> tf.data.Dataset:
    """Global batches of all epochs, each epoch in an order of its own.

    Order and augmentation depend on nothing but `seed` and the step, so that any number of replicas
    sees the same batches, and so does a training that goes on where another process ended. An
    epoch drops the rest that fills no batch, another one each time.

    Args:
      split: what to train on, N examples.
      batch: global batch, 1..N.
      epochs: passes over the split.
      seed: any integer.
      augment: changes the images of a batch by a seed of its own.
      epochs_done: as many epochs are left out at the start.

    Returns:
      N // batch elements per epoch, ([batch, H, W, C] float32, [batch, num_classes] float32).
    """
    rows = len(split)
    steps = steps_per_epoch(rows, batch)

    @tf.autograph.experimental.do_not_convert
    def batch_at(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, step_in_epoch = step // steps, step % steps
        positions = step_in_epoch * batch + tf.range(batch, dtype=tf.int64)
        order_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        chosen = tf.random.experimental.index_shuffle(positions, order_seed, rows - 1)  # [batch]
        images = tf.gather(split.images, chosen)
        images = augment(images, tf.stack([tf.constant(seed, tf.int64), step]))
        return images, tf.gather(split.labels, chosen)

    return (
        tf.data.Dataset.range(epochs_done * steps, epochs * steps)
        .map(batch_at, num_parallel_calls=1, deterministic=True)
        .prefetch(4)
    )


def steps_per_epoch(rows: int, batch: int) -> int:
    """Full batches in one epoch.

    Raises:
      ValueError: not even one.
    """
    if batch > rows:
        raise ValueError(
            f"the global batch is {batch}, but train has only {rows} examples: "
            "set training.per_replica_batch lower"
        )
    return rows // batch
