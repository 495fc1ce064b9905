"""Records -> tensors in memory -> batches, and the transform graph on the way.

The transform graph normalizes each pixel independently, so its values for the 256 grey levels of
each channel describe it completely: pixels stay in memory as uint8, and a batch looks them up, with
bit-equal results (docs/decisions/0001 and 0012).

Synopsis::

    split = load_split(files, tft_output)              # decoded once, kept as uint8
    for images, labels in training_batches(split, batch=256, epochs=5, seed=1, augment=...): ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from trainer import features
from trainer.augmentation import Augment
from trainer.preprocessing import decode_png

_DECODE_BATCH = 1024  # examples decoded at a time
_ROUNDING = 1e-5  # of normalized values, where a machine's vector and scalar operations differ


class TransformGraph(tf.Module):
    """The graph of `preprocessing_fn`, on any of its inputs; saved with the object that holds it.

    It replaces TFT's `transform_features_layer`, which AutoGraph converts at its first call and
    when it is saved: 4 s each, for code without a Python branch on a tensor.
    """

    def __init__(self, tft_output: tft.TFTransformOutput) -> None:
        super().__init__()
        loader = SavedModelLoader(tft_output.transform_savedmodel_dir)
        self._apply = loader.apply_transform_model
        # The loader itself is not tracked; without what it loaded a saved model lacks its tables.
        self._loaded = [
            value
            for value in vars(loader).values()
            if isinstance(value, tf.__internal__.tracking.Trackable)
        ]

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the transformed features that can be computed from these raw ones, by name.

        Call it inside a `tf.function`, which omits the part of the graph that is not used: called
        eagerly with labels only, it would decode an empty image.
        """
        transformed: dict[str, tf.Tensor] = self._apply(raw)
        return transformed


@dataclasses.dataclass(frozen=True)
class LoadedSplit:
    """A split in memory.

    Attributes:
      images: [N, H, W, C] uint8.
      labels: [N, num_classes] float32, one-hot.
      levels: [256, C] float32, the normalized value of each grey level.
    """

    images: tf.Tensor
    labels: tf.Tensor
    levels: tf.Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def tensors(self) -> tuple[tf.Tensor, ...]:
        return self.images, self.labels, self.levels

    def normalized(self, images: tf.Tensor) -> tf.Tensor:
        """Normalizes [B, H, W, C] uint8 to [B, H, W, C] float32."""
        channels = self.levels.shape[1]
        places = tf.cast(images, tf.int32) * channels + tf.range(channels)  # [B, H, W, C]
        return tf.gather(tf.reshape(self.levels, [-1]), places)


def load_split(file_patterns: Sequence[str], tft_output: tft.TFTransformOutput) -> LoadedSplit:
    """Reads the gzipped TFRecords of one split in the order of their names.

    Raises ValueError if they hold no example, or if the transform graph does more than normalize
    each pixel independently.
    """
    files = sorted(file for pattern in file_patterns for file in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_DECODE_BATCH)
    graph = TransformGraph(tft_output)
    spec = tft_output.raw_feature_spec()
    spec = {name: spec[name] for name in (features.IMAGE, features.LABEL)}
    shape = tuple(tft_output.transformed_feature_spec()[features.NORMALIZED_IMAGE].shape)

    @tf.autograph.experimental.do_not_convert
    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = tf.io.parse_example(serialized, spec)
        # The graph's images are asked for by nobody here, so that it does not make them.
        return decode_png(raw[features.IMAGE], shape), graph(raw)[features.ONE_HOT_LABEL]

    @tf.function(autograph=False, reduce_retracing=True)
    def normalize(encoded: tf.Tensor) -> tf.Tensor:
        return graph({features.IMAGE: encoded})[features.NORMALIZED_IMAGE]

    batches = list(
        records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(1)
    )
    if not batches:
        raise ValueError(f"no examples in {', '.join(file_patterns)}: is the split empty?")
    split = LoadedSplit(
        images=tf.concat([images for images, _ in batches], axis=0),
        labels=tf.concat([labels for _, labels in batches], axis=0),
        levels=_levels(normalize, shape, raw_shape=spec[features.IMAGE].shape),
    )
    (first,) = records.take(1)
    expected = normalize(tf.io.parse_example(first, spec)[features.IMAGE])
    if tf.reduce_max(tf.abs(split.normalized(batches[0][0]) - expected)) > _ROUNDING:
        raise ValueError(
            "the transform graph does not normalize each pixel by its own grey level alone, "
            "expected that of trainer/preprocessing.py: training looks pixels up by their level"
        )
    return split


def _levels(
    normalize: Callable[[tf.Tensor], tf.Tensor],
    shape: tuple[int, int, int],
    *,
    raw_shape: Sequence[int],
) -> tf.Tensor:
    """Returns the normalized value of each grey level in each channel: [256, C] float32."""
    plain = [tf.io.encode_png(tf.fill(shape, tf.cast(level, tf.uint8))) for level in range(256)]
    values = [normalize(tf.reshape(png, [1, *raw_shape]))[:, 0, 0, :] for png in plain]
    return tf.concat(values, axis=0)


def training_batches(
    split: LoadedSplit,
    *,
    batch: int,
    epochs: int,
    seed: int,
    augment: Augment,
    epochs_done: int = 0,
) -> tf.data.Dataset:
    """Returns the global batches of all epochs but the first `epochs_done`: [batch, H, W, C] and
    [batch, num_classes], both float32.

    Order and augmentation depend on nothing but `seed` and the step, so any number of replicas sees
    the same batches, and so does a resumed training. Each epoch has another order, and drops the
    examples that fill no batch, others each time.
    """
    rows = len(split)
    steps = steps_per_epoch(rows, batch)

    @tf.autograph.experimental.do_not_convert
    def batch_at(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, step_in_epoch = step // steps, step % steps
        positions = step_in_epoch * batch + tf.range(batch, dtype=tf.int64)
        order_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        chosen = tf.random.experimental.index_shuffle(positions, order_seed, rows - 1)  # [batch]
        images = split.normalized(tf.gather(split.images, chosen))
        images = augment(images, tf.stack([tf.constant(seed, tf.int64), step]))
        return images, tf.gather(split.labels, chosen)

    return (
        tf.data.Dataset.range(epochs_done * steps, epochs * steps)
        .map(batch_at, num_parallel_calls=1, deterministic=True)
        .prefetch(4)
    )


def steps_per_epoch(rows: int, batch: int) -> int:
    """Returns the number of full batches in one epoch; raises ValueError if there is none."""
    if batch > rows:
        raise ValueError(
            f"the global batch is {batch}, but train has only {rows} examples: "
            "set training.per_replica_batch lower"
        )
    return rows // batch
