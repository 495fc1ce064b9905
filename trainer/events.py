"""TensorBoard's event files of a training.

Synopsis::

    events = Events("model_run")
    events.write(epoch)         # one point of each curve
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from trainer import progress
from trainer.state import Epoch


class Events:
    """Curves over the epochs; where the disk does not take them, the training goes on without."""

    def __init__(self, folder: str | None) -> None:
        """Makes a file in `folder`; None writes none."""
        self._folder = folder
        self._writer: Any = None
        if folder:
            try:
                self._writer = tf.summary.create_file_writer(folder)
            except tf.errors.OpError as error:
                self._give_up(error)

    def write(self, epoch: Epoch) -> None:
        """Writes every value of an epoch, so that TensorBoard shows it at once."""
        if self._writer is None:
            return
        try:
            with self._writer.as_default(step=epoch.number):
                for name, value in dataclasses.asdict(epoch).items():
                    if name != "number":
                        tf.summary.scalar(name, value)
            self._writer.flush()
        except tf.errors.OpError as error:
            self._give_up(error)

    def _give_up(self, error: tf.errors.OpError) -> None:
        """For good: a record that was written in part ends what TensorBoard reads of a file."""
        self._writer = None
        progress.LOGGER.warning(
            "no TensorBoard events can be written to %s (%s): training goes on without them; make "
            "room there",
            self._folder,
            type(error).__name__,
        )
