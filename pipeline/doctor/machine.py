"""What was found on a machine, as values, and the list that a driver's and TensorFlow's GPUs make.

JSON has the same names and values: `dataclasses.asdict(machine)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.host.cuda import NCCL, Device, Library


@dataclasses.dataclass(frozen=True)
class Python:
    """The interpreter that runs the pipeline."""

    version: str
    executable: str


@dataclasses.dataclass(frozen=True)
class TensorFlow:
    """The installed TensorFlow.

    Attributes:
      version: None if it is not installed.
      cuda: the CUDA version that it was built for, or None if it was built without CUDA.
      cudnn: the version of cuDNN that it was built for, or None.
      imported: whether a child process was asked to import it.
      problem: why it could not be imported or used, in one line; otherwise "".
    """

    version: str | None
    cuda: str | None = None
    cudnn: str | None = None
    imported: bool = False
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU of the NVIDIA driver, or one that only TensorFlow lists.

    Attributes:
      memory_mib: all of its memory; None if the driver does not list the GPU.
      seen: whether TensorFlow lists it.
      problem: why a small convolution on it fails, in one line; otherwise "".
    """

    name: str
    memory_mib: int | None
    seen: bool
    problem: str = ""

    @property
    def usable(self) -> bool:
        return self.seen and not self.problem


@dataclasses.dataclass(frozen=True)
class Nvidia:
    """NVIDIA's driver.

    Attributes:
      device: the sign of an NVIDIA device: "/dev/nvidia0"; "libcuda.so.1" if only the driver's
        library lists GPUs; "/proc/driver/nvidia" in a container that got none; otherwise None.
      hidden: whether CUDA_VISIBLE_DEVICES hides all GPUs.
      cuda: the newest CUDA version that the driver knows; None if it was not or cannot be asked.
      problem: why it gives no GPU, in one line; otherwise "".
    """

    device: str | None = None
    hidden: bool = False
    cuda: str | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Engine:
    """Docker or Podman.

    Attributes:
      path: its executable; None if it is not on the PATH.
      version: that of the engine; None if it does not answer.
      problem: why it does not answer, in one line; otherwise "".
    """

    name: str
    path: str | None
    version: str | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Machine:
    """All that was found.

    Attributes:
      packages: the versions of other distributions by name; None for those not installed.
      model_server: the executable that a serving check uses; None if it is TensorFlow's loader.
    """

    python: Python
    packages: Mapping[str, str | None]
    tensorflow: TensorFlow
    nvidia: Nvidia = Nvidia()
    gpus: tuple[Gpu, ...] = ()
    cuda_libraries: tuple[Library, ...] = ()
    engines: tuple[Engine, ...] = ()
    model_server: str | None = None

    @property
    def usable_gpus(self) -> int:
        return sum(gpu.usable for gpu in self.gpus)

    def missing_libraries(self) -> list[Library]:
        """Returns the CUDA libraries that its GPUs need; NCCL is for two or more."""
        return [
            library
            for library in self.cuda_libraries
            if library.path is None and (library.name != NCCL or len(self.gpus) > 1)
        ]


def joined(devices: Sequence[Device], seen: Sequence[Mapping[str, Any]]) -> Iterator[Gpu]:
    """Joins the GPUs of the driver with those that TensorFlow sees, which may be fewer.

    Both lists have the same order and the same names; TensorFlow passes over GPUs that are too old
    or much weaker than others.
    """
    rest = list(seen)
    for device in devices:
        same = next((one for one in rest if one["name"] == device.name), None)
        if same is not None:
            rest.remove(same)
        yield Gpu(
            device.name,
            device.memory_mib,
            seen=same is not None,
            problem=str(same["problem"]) if same else "",
        )
    for one in rest:
        yield Gpu(str(one["name"]), None, seen=True, problem=str(one["problem"]))
