"""`make image`: what it refuses before anything is built."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "build-image"


def test_another_flavour_is_refused_before_a_layer_is_built() -> None:
    env = {**os.environ, "FLAVOUR": "gpu"}
    done = subprocess.run([SCRIPT], env=env, capture_output=True, text=True, check=False)
    line = "tfx-mnist: FLAVOUR is 'gpu', expected cpu or cuda\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
