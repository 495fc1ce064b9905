"""Where libraries are looked for, with TensorFlow's own library and stand-ins for CUDA's.

A stand-in is a copy of a library of the system under the name of one of CUDA's. What it shows is
where files are found, and nothing about GPUs.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trainer.host import cuda
from trainer.host.children import running_child

FRAMEWORK = "libtensorflow_framework.so.2"
NAME = "libcublas.so.12"


@pytest.fixture
def framework(tmp_path: Path) -> Path:
    """TensorFlow's library in a `site-packages` of the test's own."""
    found = importlib.util.find_spec("tensorflow")
    assert found is not None
    assert found.origin is not None
    link = tmp_path / "tensorflow" / FRAMEWORK
    link.parent.mkdir()
    link.symlink_to(Path(found.origin).parent / FRAMEWORK)
    return link


def stand_in(folder: Path, name: str = NAME) -> str:
    mapped = Path("/proc/self/maps").read_text().splitlines()
    libm = next(line.split()[-1] for line in mapped if re.search(r"/libm[.-][^/]*$", line))
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(libm, folder / name))


def asked(framework: Path, *names: str, **variables: str) -> list[dict[str, str | None]]:
    """What a fresh process finds, as this one keeps what it has opened."""
    words = [str(framework), *names]
    with running_child(cuda.__name__, *words, stdout=subprocess.PIPE, **variables) as child:
        assert child.stdout is not None
        found: list[dict[str, str | None]] = json.loads(child.stdout.read())["libraries"]
    return found


def test_a_library_of_a_pip_package_is_found_where_tensorflow_looks(
    framework: Path, tmp_path: Path
) -> None:
    path = stand_in(tmp_path / "nvidia" / "cublas" / "lib")
    (found,) = asked(framework, NAME)
    assert found == {"name": NAME, "path": path, "elsewhere": None, "problem": ""}


def test_a_library_where_tensorflow_does_not_look_is_named(framework: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "nvidia" / "unknown" / "lib")
    (found,) = asked(framework, NAME)
    assert (found["path"], found["elsewhere"]) == (None, path)
    assert f"{NAME}: cannot open shared object file" in str(found["problem"])


def test_the_library_path_comes_first(framework: Path, tmp_path: Path) -> None:
    stand_in(tmp_path / "nvidia" / "cublas" / "lib")
    path = stand_in(tmp_path / "mine")
    (found,) = asked(framework, NAME, LD_LIBRARY_PATH=str(tmp_path / "mine"))
    assert found["path"] == path


def test_a_damaged_library_is_not_found_elsewhere(framework: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"no library")
    (found,) = asked(framework, NAME)
    assert (found["path"], found["elsewhere"]) == (None, None)
    assert "file too short" in str(found["problem"])


def test_without_tensorflows_library_each_is_a_problem(tmp_path: Path) -> None:
    first, second = asked(tmp_path / FRAMEWORK, NAME, "libcudnn.so.9")
    assert (first["path"], second["name"]) == (None, "libcudnn.so.9")
    assert "cannot open shared object file" in str(first["problem"])


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a driver")
def test_without_a_driver_there_is_no_gpu() -> None:
    driver = cuda.ask_driver()
    assert driver.devices == ()
    assert driver.problem.startswith("libcuda.so.1: ")
