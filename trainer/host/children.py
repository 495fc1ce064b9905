"""Child processes of this interpreter, which end with their parent and import nothing by accident.

Synopsis::

    with running_child("trainer.supervision", str(job)) as process:
        process.wait()

    end_with_parent(exit_code=3)      # what such a child calls first

`python -m` and `python -c` look into the working directory first for every import: a `random.py`
that lies there takes the standard library's place. `-P` forbids that from Python 3.11 on; `-I` does
so on 3.10 as well, but ignores PYTHONPATH and all other settings. So the child runs a file of ours,
`child_main`, which then runs the module. The working directory stays: relative paths among the
arguments mean what they mean to the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer.host import child_main

_MAIN = Path(child_main.__file__)
_PATH = "PYTHONPATH"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Child(NamedTuple):
    """A process to start.

    Attributes:
      command: program and arguments.
      environment: all variables.
    """

    command: list[str]
    environment: dict[str, str]


def python_child(module: str, *arguments: str, **variables: str) -> Child:
    """A child that runs a module as `python -m` does, by this interpreter.

    What PYTHONPATH names stays importable, also where it names the working directory. An empty part
    of it, which Python takes for the working directory ("$PYTHONPATH:/mine" has one when PYTHONPATH
    was unset), is left out.

    Args:
      module: its full name; a module of ours, or any other.
      arguments: what it finds in `sys.argv` behind its own name.
      variables: of the environment, on top of this process's.
    """
    environment = {**os.environ, **variables}
    parts = list(filter(None, environment.pop(_PATH, "").split(os.pathsep)))
    if parts:
        environment[_PATH] = os.pathsep.join(parts)
    return Child([sys.executable, str(_MAIN), module, *arguments], environment)


@contextlib.contextmanager
def running_child(
    module: str, *arguments: str, stdout: int, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A child that is killed when the block is left; its stdin closes when this process is gone.

    Args:
      module: see `python_child`, also for the arguments and variables.
      stdout: a file descriptor, or `subprocess.PIPE`.
    """
    child = python_child(module, *arguments, **variables)
    process = subprocess.Popen(
        child.command, env=child.environment, stdin=subprocess.PIPE, stdout=stdout, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end_with_parent(exit_code: int) -> None:
    """From now on, ends this process when the one at the other end of its stdin has ended.

    On Linux also while no Python code can run: TensorFlow holds the interpreter's lock while it
    waits for other machines. Linux kills this process when the *thread* that started it ends, so
    the parent must start it in a thread that lives as long as the parent (prctl(2),
    PR_SET_PDEATHSIG).
    """

    def wait() -> None:
        os.read(0, 1)  # sys.stdin has a lock, which would be held when the interpreter ends
        os._exit(exit_code)

    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=wait, daemon=True).start()
