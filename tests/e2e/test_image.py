"""What the product's image promises (docker/Dockerfile), asked of the image itself.

`make e2e-kubeflow` builds it and says where it is.
"""

import importlib.metadata
import json
import re
import subprocess

import pytest

from tests.e2e import image

pytestmark = [pytest.mark.e2e, image.needed]


def in_image(script: str) -> list[str]:
    """The lines that a shell prints, as the image's own user."""
    process = subprocess.run(
        image.command(["sh", "-c", script]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_labels_say_version_and_commit():
    labels = image.labels()
    assert labels["org.opencontainers.image.version"] == importlib.metadata.version("tfx-mnist")
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])


def test_an_ordinary_user_runs_it():
    assert in_image("id -u; id -g; echo $HOME; touch $HOME/ours && echo may write there") == [
        "10001",
        "0",
        "/tmp",
        "may write there",
    ]


def test_its_user_may_write_to_no_code():
    assert in_image("find /opt /usr -writable ! -type l") == []


def test_no_compiler_is_left():
    assert in_image("command -v cc gcc g++ clang make pip uv; true") == []


def test_the_command_is_there_without_a_network():
    assert in_image("tfx-mnist --help")[0].startswith("Usage: tfx-mnist")


def test_it_holds_each_cuda_library_of_its_tensorflow():
    """One for the CPU opens none."""
    found = json.loads("".join(in_image("tfx-mnist doctor --json")))
    assert found["missing"] == []
    libraries = found["cuda_libraries"]
    assert bool(libraries) is (found["tensorflow"]["cuda"] is not None)
    assert [each for each in libraries if not (each["path"] or "").startswith("/opt/")] == []
