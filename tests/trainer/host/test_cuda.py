"""Where libraries are looked for, and what the driver is asked, with stand-ins for CUDA's.

A stand-in is a copy of a library of the system under the name of one of CUDA's. What it shows is
where files are found, and nothing about GPUs.
"""

import ctypes
import json
import os
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.host import cuda
from trainer.host.children import running_child
from trainer.host.cuda import Device, Driver

NAME = "libcusolver.so.11"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed TensorFlow, with a `[` in its name, and no LD_LIBRARY_PATH."""
    folder = tmp_path / "[and-cuda]" / "site-packages"
    (folder / "tensorflow").mkdir(parents=True)
    (folder / "tensorflow" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return folder


def stand_in(folder: Path) -> str:
    mapped = Path("/proc/self/maps").read_text().splitlines()
    libm = next(line.split()[-1] for line in mapped if re.search(r"/libm[.-][^/]*$", line))
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(libm, folder / NAME))


def asked(*names: str) -> list[dict[str, str | None]]:
    """What a fresh process finds, as this one keeps what it has opened."""
    path = cuda.library_path()
    with running_child(cuda.__name__, *names, LD_LIBRARY_PATH=path) as child:
        assert child.stdout is not None
        found: list[dict[str, str | None]] = json.loads(child.stdout.read())["libraries"]
    return found


def test_a_library_of_a_pip_package_is_found(packages: Path) -> None:
    path = stand_in(packages / "nvidia" / "cusolver" / "lib")
    assert asked(NAME) == [{"name": NAME, "path": path, "problem": ""}]


def test_the_users_library_path_comes_first(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(packages / "nvidia" / "cusolver" / "lib")
    path = stand_in(tmp_path / "mine")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "mine"))
    assert asked(NAME) == [{"name": NAME, "path": path, "problem": ""}]


def test_the_working_directory_is_not_on_the_library_path(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cudnn", "cublas"):
        (packages / "nvidia" / name / "lib").mkdir(parents=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", ":/mine:")
    nvidia = packages / "nvidia"
    assert cuda.library_path() == f"/mine:{nvidia}/cublas/lib:{nvidia}/cudnn/lib"


def test_without_pip_packages_the_library_path_is_the_users(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda.library_path() == ""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/a:/b")
    assert cuda.library_path() == "/a:/b"


def test_a_library_that_is_not_there_or_damaged_is_a_problem(packages: Path) -> None:
    damaged = packages / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no library")
    first, second = asked(NAME, damaged.name)
    assert (first["path"], second["path"]) == (None, None)
    assert f"{NAME}: cannot open shared object file" in str(first["problem"])
    assert f"{damaged}: file too short" in str(second["problem"])


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a driver")
def test_without_a_driver_there_is_no_gpu() -> None:
    driver = cuda.ask_driver()
    assert driver.devices == ()
    assert driver.problem.startswith("libcuda.so.1: ")


def stand_in_driver(devices: int, failing: str = "") -> types.SimpleNamespace:
    """Answers as NVIDIA's "CUDA Driver API" has it, and with 100 to the call that fails."""

    def answer(pointer: Any, value: object) -> None:
        pointer._obj.value = value

    calls: dict[str, Callable[..., None]] = {
        "cuDriverGetVersion": lambda version: answer(version, 12_040),
        "cuInit": lambda flags: None,
        "cuDeviceGetCount": lambda count: answer(count, devices),
        "cuDeviceGet": lambda device, number: answer(device, 7 + number),
        "cuDeviceGetName": lambda name, size, device: setattr(
            name, "value", b"GPU %d"[:size] % device.value
        ),
        "cuDeviceTotalMem_v2": lambda memory, device: answer(memory, device.value << 30),
        "cuGetErrorString": lambda status, text: answer(text, b"error %d" % status),
    }
    return types.SimpleNamespace(
        **{
            name: lambda *given, name=name: calls[name](*given) or 100 * (name == failing)
            for name in calls
        }
    )


@pytest.mark.parametrize(
    ("stand_in", "driver"),
    [
        (stand_in_driver(2), Driver("12.4", (Device("GPU 7", 7 << 10), Device("GPU 8", 8 << 10)))),
        (stand_in_driver(0), Driver("12.4", problem="it lists none")),
        (stand_in_driver(1, "cuInit"), Driver("12.4", problem="error 100 (100)")),
        (stand_in_driver(1, "cuDeviceGetCount"), Driver("12.4", problem="error 100 (100)")),
        (
            stand_in_driver(1, "cuDriverGetVersion"),
            Driver(problem="libcuda.so.1 does not tell its version"),
        ),
    ],
)
def test_the_driver_tells_its_version_and_its_gpus_or_why_it_has_none(
    stand_in: types.SimpleNamespace, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", {"libcuda.so.1": stand_in}.__getitem__)
    assert cuda.ask_driver() == driver
