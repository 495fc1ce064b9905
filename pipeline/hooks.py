"""Commands of the user's that are told the outcome of a run, a rollback or an approval.

Synopsis::

    require_programs(config.hooks)                        # before the run
    told = tell(config.hooks, "released", result.to_dict())
    told.complaint                                        # "", or one line

A command gets the object of `--json` on its stdin and the name of its hook in TFX_MNIST_HOOK. No
shell is involved. It can change neither the outcome nor the exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from pipeline.config import ConfigError, HooksConfig
from pipeline.result import FAILED, REFUSED, RELEASED, json_able
from trainer.host.text import quoted

ROLLED_BACK = "rolled_back"
EVENTS = (RELEASED, REFUSED, FAILED, ROLLED_BACK)
VARIABLE = "TFX_MNIST_HOOK"

_MOST_OUTPUT = 64 << 10  # bytes, from the end


class Told(NamedTuple):
    """What became of a hook.

    Attributes:
      complaint: one line if the command failed, otherwise "".
      output: the end of what it wrote on stdout and stderr, 64 KiB at most.
    """

    complaint: str = ""
    output: str = ""


def require_programs(hooks: HooksConfig) -> None:
    """Raises ConfigError for a hook whose program is not on this machine."""
    for event in EVENTS:
        command = getattr(hooks, event)
        if command and shutil.which(command[0]) is None:
            raise ConfigError(
                f"hooks.{event} begins with {quoted(command[0])}, expected a program on the PATH "
                "or the path of an executable file"
            )


def tell(hooks: HooksConfig, event: str, fields: Mapping[str, Any]) -> Told:
    """Runs the command of an event, if it has one, and waits for it.

    Args:
      event: one of `EVENTS`, or another outcome, which has none.
      fields: the object for its stdin.
    """
    command = getattr(hooks, event) if event in EVENTS else ()
    if not command:
        return Told()
    name = f"the hook hooks.{event} ({quoted(command[0])})"
    try:
        # Files, since a child of the command may keep a pipe open for ever.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
            given.write(json.dumps(json_able(fields), allow_nan=False).encode())
            given.seek(0)
            problem = _run(command, event, given, output, timeout_s=hooks.timeout_s)
            text = _end_of(output)
    except OSError as error:
        return Told(f"{name} cannot be run: {error.strerror}; the outcome stands")
    if not problem:
        return Told(output=text)
    last = f": {' '.join(text.splitlines()[-1].split())}" if text else ""
    return Told(f"{name} {problem}{last}; the outcome stands", text)


def _run(
    command: tuple[str, ...], event: str, given: IO[bytes], output: IO[bytes], *, timeout_s: float
) -> str:
    """Returns what is wrong, or ""; the command's whole process group ends with it."""
    process = subprocess.Popen(
        command,
        stdin=given,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, VARIABLE: event},
        start_new_session=True,
    )
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return f"was killed after {timeout_s:g} s (hooks.timeout_s)"
    finally:  # also where a signal ends us meanwhile
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status < 0:
        return f"was killed by signal {-status}"
    return f"failed with exit status {status}" if status else ""


def _end_of(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _MOST_OUTPUT))
    return output.read().decode("utf-8", "backslashreplace").strip()
