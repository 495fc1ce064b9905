"""The first code that a Python child process of ours runs: see `trainer.host.children`.

    python /path/to/trainer/host/child_main.py MODULE ARGUMENT...

Python puts the directory of this file first on `sys.path`, where `python -m` and `python -c` would
put the working directory. It is taken off again before anything is imported that is not loaded yet.
"""

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
_PACKAGE = os.path.dirname(_HERE)  # trainer
sys.path[:] = [entry for entry in sys.path if entry != _HERE]

import importlib.util  # noqa: E402
import runpy  # noqa: E402


def _find_our_packages() -> None:
    """Lets this process import the packages that its parent runs.

    If `python -m` started the parent in a checkout, the installed ones are others, or there are
    none.
    """
    found = importlib.util.find_spec(os.path.basename(_PACKAGE))
    origin = os.path.realpath(found.origin) if found and found.origin else ""
    if os.path.dirname(origin) != _PACKAGE:
        sys.path.insert(0, os.path.dirname(_PACKAGE))


if __name__ == "__main__":
    _find_our_packages()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
