"""The batches of a training, which each replica makes for itself.

Synopsis::

    batches = TrainingBatches(split, batch=256, seed=1, augmentation=..., strategy=strategy)
    drawn = batches.draw(first=0, steps=32)
    images, labels = batches.share(batches.data, drawn, place=0)    # in a replica of the strategy
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from trainer.augmentation import Augmentation
from trainer.device_memory import enough_for
from trainer.host.text import size
from trainer.inputs import LoadedSplit

_CPU, _GPU = "CPU:0", "GPU:"
_STEPS_PER_CALL = 32  # between two reports of progress, at most
_CALL_BYTES = 8 << 20  # of the pixels of these steps, at most: they may be in memory all at once


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
        """Copies the split to the device of each replica, or leaves it in its scratch file.

        Raises ValueError if the global `batch` is larger than the split, and `OutOfMemory`.
        """
        if batch > len(split):
            raise ValueError(
                f"the global batch is {batch}, but train has only {len(split)} examples: "
                "set training.per_replica_batch lower"
            )
        self.batch, self.steps_per_epoch = batch, len(split) // batch
        self._rows, self._seed = len(split), seed
        self._replicas, self._augmentation = strategy.num_replicas_in_sync, augmentation
        of_step = batch * math.prod(split.images.shape[1:])
        self.steps_per_call = max(1, min(_STEPS_PER_CALL, _CALL_BYTES // of_step))
        self._scratch, self._reader = split.scratch, ThreadPoolExecutor(max_workers=1)
        for part in split.scratch:
            part.read_at_random()
        self._own_replicas: list[int] = []  # those of this machine
        devices = strategy.extended.worker_devices

        def copy(context: tf.distribute.ValueContext) -> tuple[tf.Tensor, ...]:
            replica = context.replica_id_in_sync_group
            self._own_replicas.append(replica)
            own = devices[replica % len(devices)]
            with tf.device(_CPU if self._scratch else own):
                images, labels = tf.identity(split.images), tf.identity(split.labels)
            with tf.device(own):
                if _GPU in own and not self._scratch:
                    # TensorFlow gathers bytes on a GPU out of a variable alone. Out of a tensor the
                    # CPU does, to which all of them would be copied in each step.
                    images = tf.Variable(images, trainable=False)
                return images, labels, tf.identity(split.levels)

        with enough_for(f"train, {size(split.num_bytes)},", remedy="set training.input=stream"):
            self.data = strategy.experimental_distribute_values_from_function(copy)

    def calls(self, epoch: int) -> Iterator[tuple[int, int]]:
        """Yields the first step of each call of an epoch, and the number of its steps.

        Args:
          epoch: from 0 on.
        """
        first = epoch * self.steps_per_epoch
        for step in range(0, self.steps_per_epoch, self.steps_per_call):
            yield first + step, min(self.steps_per_call, self.steps_per_epoch - step)

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
        with tf.device(_CPU):
            numbers = tf.cast(first, tf.int64) + tf.range(tf.cast(steps, tf.int64))  # [steps]
            epoch, in_epoch = numbers // self.steps_per_epoch, numbers % self.steps_per_epoch
            seed = tf.constant(self._seed, tf.int64)
            seeds = tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)
            positions = tf.reshape(
                in_epoch[:, None] * self.batch + tf.range(self.batch, dtype=tf.int64), [-1]
            )
            rows = tf.random.experimental.index_shuffle(
                positions, tf.stack([seed, epoch[0]]), self._rows - 1
            )
            shares = tf.reshape(rows, [-1, self.batch // self._replicas])
            return shares, seeds

    def expect(self, first: int, steps: int) -> None:
        """Begins to read what this machine needs for some steps of one epoch, and does not wait."""
        if self._scratch:
            self._reader.submit(self._expect, first, steps)

    def close(self) -> None:
        """Waits until nothing is read any more."""
        self._reader.shutdown()

    def _expect(self, first: int, steps: int) -> None:
        shares, _ = self.draw(tf.constant(first), tf.constant(steps))
        of_replicas = shares.numpy().reshape(steps, self._replicas, -1)
        rows = of_replicas[:, self._own_replicas].ravel().tolist()
        for part in self._scratch:
            part.expect(rows)

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
        with self._beside_the_file():
            rows = tf.gather(shares, place * self._replicas + replica)  # [b]
            pixels, labels = tf.gather(split.images, rows), tf.gather(split.labels, rows)
        with tf.device(_CPU):
            seed = tf.gather(seeds, place)  # [2]
        draws = self._augmentation.draw(self.batch, seed)  # [batch, K]
        own = tf.reshape(draws, [self._replicas, -1, draws.shape[1]])[replica]  # [b, K]
        return self._augmentation.apply(split.normalized(pixels), own), labels

    def _beside_the_file(self) -> contextlib.AbstractContextManager[None]:
        """Lets the CPU take the rows out of a file, so that a GPU gets no others."""
        return tf.device(_CPU) if self._scratch else contextlib.nullcontext()
