"""Reports the progress of a training as log records, which a terminal can show.

Synopsis::

    report(Progress(...))                       # a record with the attribute `progress`
    LOGGER.info("resumed after epoch %d", 3)    # any other record is a line for whoever watches

To show progress, attach a `logging.Handler` to `LOGGER`.
"""

from __future__ import annotations

import dataclasses
import logging

LOGGER = logging.getLogger("trainer.progress")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
      step: number of finished steps, 0..total_steps.
      total_steps: steps of all epochs.
      epoch: number of the running or just finished epoch, 1..epochs.
      epochs: number of epochs.
      seconds_left: estimate from the steps done so far.
      eval_accuracy: on the eval split after the last finished epoch, 0..1; None before the first.
      epoch_ended: whether this record ends an epoch.
    """

    step: int
    total_steps: int
    epoch: int
    epochs: int
    seconds_left: float
    eval_accuracy: float | None
    epoch_ended: bool


def report(progress: Progress) -> None:
    """Logs progress at INFO, as the record's attribute `progress`."""
    accuracy = "" if progress.eval_accuracy is None else f", eval {progress.eval_accuracy:.4f}"
    LOGGER.info(
        "epoch %d/%d, step %d/%d%s, %.0f s left",
        progress.epoch,
        progress.epochs,
        progress.step,
        progress.total_steps,
        accuracy,
        progress.seconds_left,
        extra={"progress": progress},
    )
