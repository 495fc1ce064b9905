"""The one error that leaves a runner before a run has begun.

The command line catches it without importing what raised it, because TensorFlow may stand behind
that: `--help` and usage errors must answer at once.
"""

from __future__ import annotations


class CannotStart(Exception):
    """A run that could not even start, so that there is no result and nothing was written.

    Attributes:
      message: one line for the user: what, the actual value, the expected one, the remedy.
      exit_code: what the process ends with: 1 for a state of the machine that may pass (another
        run holds the pipeline root), 2 for a configuration or data source that was refused.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
