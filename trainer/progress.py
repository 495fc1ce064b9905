"""Reports the progress of a training as log records.

To show it, attach a `logging.Handler` to `LOGGER`: a record with the attribute `progress` holds a
`Progress`, any other record is a line for the user.
"""

from __future__ import annotations

import dataclasses
import logging

LOGGER = logging.getLogger("trainer.progress")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training has come.

    The epoch is the running or just finished one, from 1 on; `eval_accuracy`, 0..1, is that of the
    last finished epoch, and None before the first.
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
