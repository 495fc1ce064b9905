"""The process that trains as one machine of several: `trainer.supervision` starts it.

It lives for one attempt. Whoever started it reads one JSON object per line on its standard output:
`{"progress": {...}}` for each `trainer.progress.Progress`, and `{"error": "..."}` before it ends
with exit code 1 for an error that another attempt would meet again. It ends at once when its
standard input is closed, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer import progress
from trainer.cluster import Cluster
from trainer.garbage import collect_seldom
from trainer.host.text import one_line
from trainer.job import Job
from trainer.tied import end_with_parent

AGAIN = 3  # exit code: another attempt may succeed


class _Forward(logging.Handler):
    """Hands progress to whoever started this process, and all other records to the log."""

    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if state is not None:
            self._say({"progress": dataclasses.asdict(state)})


def main(job: Path) -> int:
    """Trains; returns the exit code."""
    end_with_parent(AGAIN)
    collect_seldom()
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is for the log

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=said)

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    progress.LOGGER.addHandler(_Forward(say))

    import tensorflow as tf

    from trainer.strategy import Disagreement
    from trainer.training import train_and_export

    try:
        train_and_export(Job.read(job), Cluster.from_environment())
    except (tf.errors.OpError, Disagreement, FileNotFoundError):
        logging.exception("another attempt may succeed")
        return AGAIN
    except Exception as error:
        logging.exception("another attempt would meet this again")
        say({"error": one_line(error)})
        return 1
    return 0


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    # Not through Python's end, which waits for the machines that are gone.
    os._exit(status)
