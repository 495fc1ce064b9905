"""Garbage is searched for less often, in a process of its own each time: the setting stays."""

import subprocess
import sys

import pytest

WATCHED = """
import atexit, gc
from trainer.garbage import ALLOCATIONS, collect_seldom
atexit.register(lambda: print(gc.get_freeze_count() > 10_000))  # after what is registered later
collect_seldom()
collect_seldom()
import tensorflow
print(sum(generation["collections"] for generation in gc.get_stats()))
"""
# Each begins with this and is known by what it does next.
PROCESSES = {
    "the command line": "from pipeline.cli.main import main; main(['--version'])",
    "a task on Kubeflow": """
import contextlib
from pipeline.runners.kubeflow.entrypoint import main
with contextlib.suppress(SystemExit): main(["--help"])
""",
    "a worker of a search": """
import contextlib, os, pathlib
from trainer.tuning.worker import main
os.dup2(os.pipe()[0], 0)  # it ends when nobody is left to write to its stdin
with contextlib.suppress(FileNotFoundError): main(pathlib.Path("no job"))
""",
}


def _printed(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.split()


def test_an_import_is_searched_seldom_and_nothing_at_the_end() -> None:
    searches, frozen = _printed(WATCHED)
    assert int(searches) < 100  # thousands by default
    assert frozen == "True"


@pytest.mark.parametrize("code", PROCESSES.values(), ids=PROCESSES)
def test_the_processes_that_import_much_search_seldom(code: str) -> None:
    assert _printed(f"{code}\nimport gc; print(gc.get_threshold()[0])")[-1] == "50000"
