"""What the Tuner leaves, for those who read it without importing keras-tuner.

Synopsis::

    read_results(Path(tuner_results.uri)).best              # the best trial
    read_best(Path(best_hyperparameters.uri))["dropout"]    # what the Trainer is given
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.tuning.trials import Results, searched

# In the TunerResults artifact.
TABLE = "trials.json"
PLOT = "trials.png"

_BEST = "best_hyperparameters.txt"  # in the HyperParameters artifact: TFX's name


def read_results(folder: Path) -> Results:
    """The table of the trials in a TunerResults artifact's directory."""
    return Results.from_dict(json.loads((folder / TABLE).read_text(encoding="utf-8")))


def read_best(folder: Path) -> dict[str, Any]:
    """The values of the best trial in a HyperParameters artifact's directory."""
    return searched(json.loads((folder / _BEST).read_text(encoding="utf-8"))["values"])
