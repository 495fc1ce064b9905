"""Logical devices, which TensorFlow makes only before it runs anything: in a process of its own."""

import subprocess
import sys
from pathlib import Path


def in_own_process(code: str, *arguments: str) -> str:
    """Returns what the code prints, which finds `arguments` in `sys.argv`."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
