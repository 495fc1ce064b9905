"""How a Python process is started that imports nothing from the directory where the user stands.

Synopsis::

    child = python_child("trainer.worker", str(job))
    subprocess.Popen(child.command, env=child.environment)

`python -m` and `python -c` look into the working directory first for every import: a `random.py`
that lies there takes the standard library's place. `-P` forbids that from Python 3.11 on; `-I` does
so on 3.10 as well, but ignores PYTHONPATH and all other settings. So the child runs a file of ours,
`child_main`, which then runs the module. The working directory stays: relative paths among the
arguments mean what they mean to the parent.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from trainer.host import child_main

_MAIN = Path(child_main.__file__)
_PATH = "PYTHONPATH"


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
