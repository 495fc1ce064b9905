"""The NVIDIA driver's GPUs, and the CUDA libraries that TensorFlow opens; needs no TensorFlow.

It runs as a process of its own, because a process keeps the libraries that it has opened, and obeys
the LD_LIBRARY_PATH (see `library_path`) that it was started with::

    python -m trainer.host.cuda libcudnn.so.9
    {"driver": {...}, "libraries": [{"name": "libcudnn.so.9", "path": "/.../libcudnn.so.9", ...}]}
"""

from __future__ import annotations

import ctypes
import dataclasses
import glob
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from trainer.host.children import answers, end_with_parent

DRIVER = "libcuda.so.1"
NCCL = "libnccl.so.2"  # what several GPUs of one machine exchange gradients with

_NAME_BYTES = 256
_BYTES_PER_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Library:
    """A shared library that TensorFlow opens by its name.

    Attributes:
      name: its file name with the version of its interface, such as "libcudnn.so.9".
      path: the opened file, or None if there is none that can be opened.
      problem: why no file was opened, in one line; otherwise "".
    """

    name: str
    path: str | None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Device:
    """A GPU of the driver's list."""

    name: str
    memory_mib: int


@dataclasses.dataclass(frozen=True)
class Driver:
    """The answer of the driver's library.

    Attributes:
      cuda: the newest CUDA version that the driver knows, "12.4"; None if it cannot be asked.
      devices: its GPUs, in the order of CUDA_VISIBLE_DEVICES and without those that it hides.
      problem: why it gives no GPU, in one line; otherwise "".
    """

    cuda: str | None = None
    devices: tuple[Device, ...] = ()
    problem: str = ""


def library_path() -> str:
    """Returns the LD_LIBRARY_PATH with which a process finds the CUDA libraries of pip's packages.

    This process's own comes first, then the folders of the packages nvidia-* beside TensorFlow.
    TensorFlow's own library names them too, but that of 2.21 leaves out the one of libcusolver,
    without which it uses no GPU (github.com/tensorflow/tensorflow/pull/112973).
    """
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    tensorflow = importlib.util.find_spec("tensorflow")
    if tensorflow and tensorflow.origin:
        packages = glob.escape(str(Path(tensorflow.origin).parents[1]))
        folders += sorted(glob.glob(f"{packages}/nvidia/*/lib"))
    return os.pathsep.join(filter(None, folders))  # an empty part is the working directory


def open_library(name: str) -> Library:
    """Opens a library by name, as TensorFlow does (dso_loader.cc)."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return Library(name, None, _text(error))
    return Library(name, _loaded_from(name) or name)


def _loaded_from(name: str) -> str | None:
    """Returns the file that this process maps under the name; the linker may know it by a link."""
    stem = re.escape(name.partition(".so")[0])
    found = re.search(rf"(/\S*/{stem}\.so\S*)$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    return found[1] if found else None


def _text(error: OSError) -> str:
    return " ".join(str(error).split())  # dlerror(3)


def ask_driver() -> Driver:
    """Asks the driver's library for its GPUs, without making a context on one."""
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError as error:
        return Driver(problem=_text(error))
    version = ctypes.c_int()
    if cuda.cuDriverGetVersion(ctypes.byref(version)):
        return Driver(problem=f"{DRIVER} does not tell its version")
    # 1000 * major + 10 * minor, see cuDriverGetVersion in NVIDIA's "CUDA Driver API".
    shown = f"{version.value // 1000}.{version.value % 1000 // 10}"
    if status := cuda.cuInit(0):
        return Driver(shown, problem=_error(cuda, status))
    count = ctypes.c_int()
    if status := cuda.cuDeviceGetCount(ctypes.byref(count)):
        return Driver(shown, problem=_error(cuda, status))
    if not count.value:
        return Driver(shown, problem="it lists none")
    return Driver(shown, tuple(_device(cuda, number) for number in range(count.value)))


def _device(cuda: ctypes.CDLL, number: int) -> Device:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    cuda.cuDeviceGetName(name, _NAME_BYTES, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Device(name.value.decode(errors="replace"), memory.value // _BYTES_PER_MIB)


def _error(cuda: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(status, ctypes.byref(text))
    return f"{(text.value or b'?').decode()} ({status})"


def _main(*names: str) -> None:
    end_with_parent()
    with open(os.devnull, "w") as silence:  # libraries may log when they are opened
        os.dup2(silence.fileno(), 2)
    said = answers()
    answer: dict[str, Any] = {
        "driver": dataclasses.asdict(ask_driver()),
        "libraries": [dataclasses.asdict(open_library(name)) for name in names],
    }
    print(json.dumps(answer), file=said, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
