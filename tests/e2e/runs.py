"""A whole run as a user starts it."""

import json
import subprocess
import sys
from pathlib import Path

RUN = [sys.executable, "-m", "pipeline.cli", "run", "--json"]


def run(root: Path, *arguments: str) -> tuple[int, dict]:
    """(exit code, the one JSON object on stdout) of a whole run."""
    done = subprocess.run(
        [*RUN, "--pipeline-root", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)
