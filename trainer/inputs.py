"""Records -> tensors in memory -> batches, and the transform graph on the way.

The transform graph normalizes each pixel independently, so its values for the 256 grey levels of
each channel describe it completely: pixels stay as uint8 in the memory of the device that trains,
and a batch looks them up there, with bit-equal results (docs/decisions/0001 and 0012).

Synopsis::

    split = load_split(files, tft_output, spec)        # decoded once, kept as uint8
    batches = TrainingBatches(split, batch=256, seed=1, augmentation=..., strategy=strategy)
    drawn = batches.draw(first=0, steps=32)
    images, labels = batches.share(data, drawn, place=0)    # in a replica of the strategy
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from trainer import features
from trainer.augmentation import Augmentation
from trainer.features import ImageSpec
from trainer.image_graph import to_pixels

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
        places = tf.cast(images, tf.int32)
        if channels > 1:  # int64, because with int32 TensorFlow computes on the CPU
            places = tf.cast(images, tf.int64) * channels + tf.range(channels, dtype=tf.int64)
        return tf.gather(tf.reshape(self.levels, [-1]), places)


def load_split(
    file_patterns: Sequence[str], tft_output: tft.TFTransformOutput, image_spec: ImageSpec
) -> LoadedSplit:
    """Reads the gzipped TFRecords of one split in the order of their names.

    Raises ValueError if they hold no example, or if the transform graph does more than normalize
    each pixel independently.
    """
    files = sorted(file for pattern in file_patterns for file in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_DECODE_BATCH)
    graph = TransformGraph(tft_output)
    spec = tft_output.raw_feature_spec()
    spec = {name: spec[name] for name in (features.IMAGE, features.LABEL)}

    @tf.autograph.experimental.do_not_convert
    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = tf.io.parse_example(serialized, spec)
        # The graph's images are asked for by nobody here, so that it does not make them.
        pixels = to_pixels(raw[features.IMAGE], image_spec)
        return pixels, graph(raw)[features.ONE_HOT_LABEL]

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
        levels=_levels(normalize, image_spec.image_shape, raw_shape=spec[features.IMAGE].shape),
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


class TrainingBatches:
    """Makes the global batches of a training, each replica's share on the replica's own device.

    Order and augmentation depend on nothing but the seed and the step, so any number of replicas
    sees the same batches, and so does a resumed training. Each epoch has another order, and drops
    the examples that fill no batch, others each time.
    """

    def __init__(
        self,
        split: LoadedSplit,
        *,
        batch: int,
        seed: int,
        augmentation: Augmentation,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """Copies the split to the device of each replica.

        Raises ValueError if the global `batch` is larger than the split.
        """
        self.steps_per_epoch = steps_per_epoch(len(split), batch)
        self._rows, self._batch, self._seed = len(split), batch, seed
        self._replicas, self._augmentation = strategy.num_replicas_in_sync, augmentation
        devices = strategy.extended.worker_devices

        def copy(context: tf.distribute.ValueContext) -> tuple[tf.Tensor, ...]:
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tuple(map(tf.identity, split.tensors))

        self.data = strategy.experimental_distribute_values_from_function(copy)

    def draw(self, first: tf.Tensor, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what decides the batches of some steps of one epoch, on the CPU.

        TensorFlow shuffles on the CPU alone, so this is done for many steps at once.

        Args:
          first: the first step, counted from the beginning of the training; int32.
          steps: their number; int32.

        Returns:
          The rows of each share, [steps * replicas, batch // replicas] int64, and the seed of each
          step's augmentation, [steps, 2] int64.
        """
        with tf.device("CPU:0"):
            numbers = tf.cast(first, tf.int64) + tf.range(tf.cast(steps, tf.int64))  # [steps]
            epoch, in_epoch = numbers // self.steps_per_epoch, numbers % self.steps_per_epoch
            seed = tf.constant(self._seed, tf.int64)
            seeds = tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)
            positions = tf.reshape(
                in_epoch[:, None] * self._batch + tf.range(self._batch, dtype=tf.int64), [-1]
            )
            rows = tf.random.experimental.index_shuffle(
                positions, tf.stack([seed, epoch[0]]), self._rows - 1
            )
            shares = tf.reshape(rows, [-1, self._batch // self._replicas])
            return shares, seeds

    def share(
        self, data: tuple[tf.Tensor, ...], drawn: tuple[tf.Tensor, tf.Tensor], place: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes a replica's share of a batch; called by the replica.

        Args:
          data: the replica's own copy out of `self.data`.
          drawn: what `draw` gave.
          place: of the step among those that were drawn; int32, which TensorFlow keeps on the CPU.

        Returns:
          Images [b, H, W, C] and labels [b, num_classes], both float32.
        """
        split, (shares, seeds) = LoadedSplit(*data), drawn
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.gather(shares, place * self._replicas + replica)  # [b]
        with tf.device("CPU:0"):
            seed = tf.gather(seeds, place)  # [2]
        draws = self._augmentation.draw(self._batch, seed)  # [batch, K]
        own = tf.reshape(draws, [self._replicas, -1, draws.shape[1]])[replica]  # [b, K]
        images = self._augmentation.apply(split.normalized(tf.gather(split.images, rows)), own)
        return images, tf.gather(split.labels, rows)


def steps_per_epoch(rows: int, batch: int) -> int:
    """Returns the number of full batches in one epoch; raises ValueError if there is none."""
    if batch > rows:
        raise ValueError(
            f"the global batch is {batch}, but train has only {rows} examples: "
            "set training.per_replica_batch lower"
        )
    return rows // batch
