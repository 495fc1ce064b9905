"""The NVIDIA driver's GPUs, and the CUDA libraries that TensorFlow opens; needs no TensorFlow.

A process of its own, because it opens libraries that this one then would keep::

    python -m trainer.host.cuda /site-packages/tensorflow/libtensorflow_framework.so.2 libcudnn.so.9
    {"driver": {...}, "libraries": [{"name": "libcudnn.so.9", "path": "/.../libcudnn.so.9", ...}]}
"""

from __future__ import annotations

import ctypes
import dataclasses
import glob
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.host.children import end_with_parent

DRIVER = "libcuda.so.1"
NCCL = "libnccl.so.2"  # what several GPUs of one machine exchange gradients with

_FOLDERS, _FOLDERS_SIZE = 4, 5  # RTLD_DI_SERINFO and RTLD_DI_SERINFOSIZE of glibc's dlfcn.h
_NAME_BYTES = 256
_BYTES_PER_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Library:
    """A shared library that TensorFlow opens by its name.

    Attributes:
      name: its file name with the version of its interface, such as "libcudnn.so.9".
      path: the opened file, or None if there is none that can be opened.
      elsewhere: a file of that name in a package of pip where TensorFlow does not look for it, or
        None.
      problem: why no file was opened, in one line; otherwise "".
    """

    name: str
    path: str | None
    elsewhere: str | None = None
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


def open_libraries(framework: Path, names: Sequence[str]) -> list[Library]:
    """Opens libraries where TensorFlow would find them, in the given order.

    TensorFlow opens them by name from `libtensorflow_framework`, whose own search path leads to the
    packages nvidia-* of pip (dso_loader.cc). That path is asked for, because it is not the same in
    each version: the one of TensorFlow 2.21 lacks the folder of libcusolver
    (github.com/tensorflow/tensorflow/pull/112973).
    """
    folders = search_path(ctypes.CDLL(str(framework)))
    return [_open(name, folders, framework.parents[1]) for name in names]


def search_path(library: ctypes.CDLL) -> list[str]:
    """Returns the folders in which names are looked up that the library opens.

    They come from LD_LIBRARY_PATH, then from the library, then from the system; see dlinfo(3).
    """

    class Size(ctypes.Structure):
        _fields_ = (("bytes", ctypes.c_size_t), ("count", ctypes.c_uint))

    class Folder(ctypes.Structure):
        _fields_ = (("name", ctypes.c_char_p), ("flags", ctypes.c_uint))

    dlinfo = ctypes.CDLL(None).dlinfo
    dlinfo.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    size = Size()
    dlinfo(library._handle, _FOLDERS_SIZE, ctypes.byref(size))

    class Info(ctypes.Structure):
        _fields_ = (*Size._fields_, ("folders", Folder * size.count))

    answer = ctypes.create_string_buffer(max(size.bytes, ctypes.sizeof(Info)))
    dlinfo(library._handle, _FOLDERS_SIZE, answer)  # which sets the two sizes in it
    dlinfo(library._handle, _FOLDERS, answer)
    return [os.fsdecode(folder.name) for folder in Info.from_buffer(answer).folders]


def _open(name: str, folders: Sequence[str], site_packages: Path) -> Library:
    path = next(filter(os.path.exists, (os.path.join(folder, name) for folder in folders)), name)
    try:
        ctypes.CDLL(path)
    except OSError as error:
        files = glob.glob(f"{glob.escape(str(site_packages))}/nvidia/*/lib/{name}")
        elsewhere = files[0] if files and path == name else None
        return Library(name, None, elsewhere, _text(error))
    return Library(name, _loaded_from(name) or path)


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


def _main(framework: str, *names: str) -> None:
    end_with_parent()
    said = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as silence:  # TensorFlow's libraries log when they are opened
        os.dup2(silence.fileno(), 1)
        os.dup2(silence.fileno(), 2)
    try:
        libraries = open_libraries(Path(framework), names) if names else []
    except OSError as error:  # TensorFlow's own library cannot be opened
        libraries = [Library(name, None, problem=_text(error)) for name in names]
    answer: dict[str, Any] = {
        "driver": dataclasses.asdict(ask_driver()),
        "libraries": [dataclasses.asdict(library) for library in libraries],
    }
    print(json.dumps(answer), file=said, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
