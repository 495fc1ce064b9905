"""Child processes of this interpreter, which end with their parent and import nothing by accident.

`python -m` and `python -c` look into the working directory first for every import, so a `random.py`
there replaces the one of the standard library. `-P` prevents this from Python 3.11 on; `-I` does so
on 3.10 too, but ignores PYTHONPATH and all other settings. So the child runs `child_main`, which
then runs the module, in the same working directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from trainer.host import child_main

_MAIN = Path(child_main.__file__)
_PATH = "PYTHONPATH"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Child(NamedTuple):
    """A process to start, with all its environment variables."""

    command: list[str]
    environment: dict[str, str]


def python_child(module: str, *arguments: str, **variables: str) -> Child:
    """Returns a child that runs a module as `python -m` does; `variables` join the environment.

    Directories of PYTHONPATH stay importable, even the working directory if PYTHONPATH names it.
    Empty parts, which Python takes for the working directory ("$PYTHONPATH:/mine" has one when
    PYTHONPATH was unset), are left out.
    """
    environment = {**os.environ, **variables}
    parts = list(filter(None, environment.pop(_PATH, "").split(os.pathsep)))
    if parts:
        environment[_PATH] = os.pathsep.join(parts)
    return Child([sys.executable, str(_MAIN), module, *arguments], environment)


@contextlib.contextmanager
def running_child(
    module: str, *arguments: str, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A child (see `python_child`), with pipes for its stdin and stdout, that is killed when the
    block is left; its stdin closes when this process is gone.

    It has a temporary directory of its own: a child that is killed cannot remove its files. TMPDIR
    names it only where the user has set that: large files go elsewhere without it, see
    `trainer.job.Job.scratch`. Python's tempfile looks at TEMP as well.
    """
    name = "TMPDIR" if os.path.isdir(os.environ.get("TMPDIR", "")) else "TEMP"
    with tempfile.TemporaryDirectory(prefix="tfx-mnist-", ignore_cleanup_errors=True) as scratch:
        child = python_child(module, *arguments, **{name: scratch}, **variables)
        process = subprocess.Popen(
            child.command,
            env=child.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def answers() -> TextIO:
    """Returns a stream to the parent in place of stdout, which leads where stderr does from now on:
    what libraries print is no answer.
    """
    stream = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return stream


def end_with_parent() -> None:
    """Ends this process from now on when the process at the other end of its stdin has ended.

    On Linux this works even while TensorFlow holds the interpreter's lock, see `killed_with`.
    """

    def wait() -> None:
        os.read(0, 1)  # sys.stdin has a lock, which would be held when the interpreter ends
        os._exit(1)

    _be_killed_with_parent()
    threading.Thread(target=wait, daemon=True).start()


def killed_with(parent: int) -> None:
    """Has Linux kill this process when the process `parent`, which started it, has ended.

    It happens when the *thread* of the parent that started it ends (prctl(2), PR_SET_PDEATHSIG), so
    the parent must start it from a thread that lives as long as the parent does, or this process.
    """
    _be_killed_with_parent()
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _be_killed_with_parent() -> None:
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ending(status: int) -> str:
    """Says how a child ended that says nothing itself; `status` is that of `subprocess`."""
    if status >= 0:
        return f"ended with code {status}"
    number = signal.Signals(-status)
    why = ", as when memory runs out" if number == signal.SIGKILL else ""
    return f"was killed by {number.name}{why}"
