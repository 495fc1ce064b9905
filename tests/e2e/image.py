"""The product's image and the container engine, as scripts/e2e-kubeflow names them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

NAME = os.environ.get("TFX_MNIST_IMAGE", "")
KFP_PYTHON = os.environ.get("TFX_MNIST_KFP_PYTHON", sys.executable)

needed = pytest.mark.skipif(not NAME, reason="needs an image and a container engine: e2e-kubeflow")

# Only that Python is sure to have the engine's client.
_IN_CONTAINER = """
import docker, json, sys
image, words, options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
container = docker.from_env().containers.run(
    image, words, detach=True, network_mode="none", **options)
code = container.wait()["StatusCode"]
sys.stdout.buffer.write(container.logs(stdout=True, stderr=False))
sys.stderr.buffer.write(container.logs(stdout=False, stderr=True))
container.remove()
sys.exit(code)
"""
_LABELS = """
import docker, json, sys
print(json.dumps(docker.from_env().images.get(sys.argv[1]).labels))
"""


def command(words: Sequence[str], **options: Any) -> list[str]:
    """Runs `words` in one container of the image, without a network; `options` are docker-py's."""
    return [KFP_PYTHON, "-c", _IN_CONTAINER, NAME, json.dumps(list(words)), json.dumps(options)]


def labels() -> Mapping[str, str]:
    """The image's labels."""
    process = subprocess.run(
        [KFP_PYTHON, "-c", _LABELS, NAME], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout)
