"""How far a training has come, as log records that a terminal can show.

Synopsis::

    report(Progress(...))                       # a record with the attribute `progress`
    LOGGER.info("resumed after epoch %d", 3)    # any other record is a line for whoever watches

Libraries do not print: whoever shows progress attaches a `logging.Handler` to `LOGGER`.
"""

from __future__ import annotations

import dataclasses
import logging

LOGGER = logging.getLogger("trainer.progress")


@dataclasses.dataclass(frozen=True)
class Progress:
    """State of a training.

    Attributes:
      step: steps done, 0..total_steps.
      total_steps: steps of all epochs.
      epoch: the epoch that runs or has just ended, 1..epochs.
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
    """Logs it at INFO with the record attribute `progress`."""
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
