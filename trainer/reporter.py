"""Reports a training: `trainer.progress` records for the terminal, curves for TensorBoard."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer import progress
from trainer.state import Epoch

_INTERVAL_S = 0.5


class Reporter:
    """Turns steps and epochs into progress, at most a few records per second, and into curves.

    On a full disk the training goes on without curves.
    """

    def __init__(
        self, *, steps_per_epoch: int, epochs: int, history: Sequence[Epoch], log_dir: str | None
    ) -> None:
        """Writes the curves of `history`, the epochs that a killed process has finished."""
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        self._start = self._last = time.monotonic()
        self._first = self._step = len(history) * steps_per_epoch
        self._eval_accuracy = history[-1].eval_accuracy if history else None
        self._log_dir = log_dir
        self._writer: Any = None
        if log_dir:
            try:
                self._writer = tf.summary.create_file_writer(log_dir)
            except tf.errors.OpError as error:
                self._give_up(error)
        for epoch in history:
            self._draw(epoch)

    def steps_done(self, count: int) -> None:
        self._step += count
        if time.monotonic() - self._last >= _INTERVAL_S:
            self._report(ended=False)

    def epoch_ended(self, epoch: Epoch) -> None:
        self._eval_accuracy = epoch.eval_accuracy
        self._report(ended=True)
        self._draw(epoch)

    def _report(self, *, ended: bool) -> None:
        self._last = time.monotonic()
        total = self._steps_per_epoch * self._epochs
        seconds_per_step = (self._last - self._start) / (self._step - self._first)
        progress.report(
            progress.Progress(
                step=self._step,
                total_steps=total,
                epoch=(self._step - 1) // self._steps_per_epoch + 1,
                epochs=self._epochs,
                seconds_left=seconds_per_step * (total - self._step),
                eval_accuracy=self._eval_accuracy,
                epoch_ended=ended,
            )
        )

    def _draw(self, epoch: Epoch) -> None:
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
        """Stops writing, because TensorBoard reads a file up to an incomplete record only."""
        self._writer = None
        progress.LOGGER.warning(
            "no TensorBoard events can be written to %s (%s): training goes on without them; make "
            "room there",
            self._log_dir,
            type(error).__name__,
        )
