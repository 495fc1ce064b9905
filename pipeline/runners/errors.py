"""The one error that leaves a runner before a run has begun, and what is said of all others.

The command line catches it without importing what raised it, because TensorFlow may stand behind
that: `--help` and usage errors must answer at once.
"""

from __future__ import annotations

_OUR_PACKAGES = ("components", "pipeline", "trainer")


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


def one_line(error: BaseException | None) -> str:
    """The gist of an error; Beam and TensorFlow put whole traces into theirs.

    Our own errors are written for the user; of another one the kind says as much as the text.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error)
    if kind.__module__.partition(".")[0] in _OUR_PACKAGES and lines:
        return lines[0]
    return ": ".join([kind.__name__, *lines[:1]])
