"""The epochs of a training, as a file beside TensorBoard's events: `history.json`.

write(history, Path(model_run))
read(Path(model_run))[-1]["eval_accuracy"]
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import progress
from trainer.host.files import write_durably

if TYPE_CHECKING:  # Keras and TensorFlow stand behind it
    from trainer.state import Epoch

FILE = "history.json"


def write(history: Sequence[Epoch], directory: Path) -> None:
    """Writes one object per epoch, with the fields of `Epoch`; on a full disk only warns."""
    try:
        write_durably(directory / FILE, json.dumps([dataclasses.asdict(each) for each in history]))
    except OSError as error:
        progress.LOGGER.warning(
            "the epochs cannot be written to %s (%s): the report will have no learning curves",
            directory / FILE,
            error.strerror,
        )


def read(directory: Path) -> tuple[Mapping[str, float], ...]:
    """Reads what `write` wrote, in order; empty where there is no such file."""
    try:
        return tuple(json.loads((directory / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
