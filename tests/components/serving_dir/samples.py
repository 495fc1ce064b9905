"""Small models, and other processes that publish them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from components import serving_dir
from components.serving_dir import STAGING_PREFIX, versions

SMALL_MODEL = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"weights" * 1000,
}
# Waits for a line of input, so that its imports are done when a test lets it begin.
PUBLISHER = """
import sys
from pathlib import Path
from components import serving_dir
print("ready", flush=True)
sys.stdin.readline()
for model in sys.argv[2:]:
    published = serving_dir.publish(Path(model), Path(sys.argv[1]), {"model": model})
    print(published.version, flush=True)
"""


def write_model(path: Path, files: Mapping[str, bytes] = SMALL_MODEL) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def python(script: str, *arguments: object, **options: object) -> "subprocess.Popen[str]":
    root = Path(serving_dir.__file__).parents[2]
    return subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def start_publisher(serving: Path, *models: Path) -> "subprocess.Popen[str]":
    """Returns a publisher that has imported all it needs, and waits for `release`."""
    process = python(PUBLISHER, serving, *models)
    assert process.stdout.readline() == "ready\n"
    return process


def release(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def staging_in(serving: Path) -> list[str]:
    return [path.name for path in serving.glob(f"{STAGING_PREFIX}*")]


def numbers(serving: Path) -> list[int]:
    return [version.number for version in versions(serving)]
