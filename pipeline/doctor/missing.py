"""What a configuration asks for and a machine has not, by data alone."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import RunConfig
from pipeline.doctor.machine import Machine

_INSTALL = "install tfx-mnist with its dependencies"
_HIDE = "CUDA_VISIBLE_DEVICES=-1 hides all GPUs and trains on the CPU"


def missing(config: RunConfig, machine: Machine) -> list[str]:
    """Returns a line with its remedy for each thing that the configuration asks for in vain.

    `replicas` of two or more asks for as many GPUs, unless CUDA_VISIBLE_DEVICES hides them all;
    with 0 all GPUs of the machine are asked for, so one that cannot be used is missing too.
    """
    return [
        *_packages(config, machine),
        *_gpus(machine),
        *_replicas(config.replicas, machine),
    ]


def devices(config: RunConfig, machine: Machine) -> str:
    """Returns for people what a training would use: "2 GPUs", "the CPU"."""
    if count := machine.usable_gpus:
        used = min(config.replicas or count, count)
        return f"{used} GPU{'s' if used > 1 else ''}"
    return "the CPU" if config.replicas < 2 else f"the CPU, as {config.replicas} devices"


def _packages(config: RunConfig, machine: Machine) -> Iterator[str]:
    needed = ["tfx", "apache-beam", *(["keras-tuner"] if config.tuning.enabled else [])]
    for name in needed:
        if machine.packages.get(name) is None:
            yield f"{name} is not installed: {_INSTALL}"
    tensorflow = machine.tensorflow
    if tensorflow.version is None:
        yield f"TensorFlow is not installed: {_INSTALL}"
    elif tensorflow.problem:
        yield (
            f"TensorFlow {tensorflow.version} cannot be used: {tensorflow.problem}; "
            "tfx-mnist doctor -v shows its log"
        )


def _gpus(machine: Machine) -> Iterator[str]:
    nvidia, tensorflow = machine.nvidia, machine.tensorflow
    if nvidia.device is None or nvidia.hidden or tensorflow.version is None:
        return
    if tensorflow.cuda is None:
        if machine.gpus:
            yield (
                f"TensorFlow {tensorflow.version} is built without CUDA, so it cannot use the "
                f"{machine.gpus[0].name}: install tensorflow[and-cuda] in its place; {_HIDE}"
            )
        return
    if nvidia.problem:
        yield (
            f"there is {nvidia.device}, but the NVIDIA driver gives no GPU: {nvidia.problem}; "
            "install the driver, start the container with its GPUs, or correct "
            f"CUDA_VISIBLE_DEVICES; {_HIDE}"
        )
    if lacking := machine.missing_libraries():
        yield (
            "CUDA libraries that TensorFlow opens are missing: "
            f"{', '.join(library.name for library in lacking)}; "
            f"pip install 'tensorflow[and-cuda]=={tensorflow.version}'"
        )
    yield from _unusable(machine)


def _unusable(machine: Machine) -> Iterator[str]:
    for number, gpu in enumerate(machine.gpus):
        if gpu.problem:
            yield (
                f"GPU {number} ({gpu.name}) cannot be used: {gpu.problem}; repair it, or leave it "
                "out of CUDA_VISIBLE_DEVICES"
            )
    explained = machine.missing_libraries() or machine.tensorflow.problem
    if machine.gpus and not any(gpu.seen for gpu in machine.gpus) and not explained:
        yield (
            f"TensorFlow sees none of the driver's {len(machine.gpus)} GPU(s): tfx-mnist doctor -v "
            f"shows why in its log; {_HIDE}"
        )


def _replicas(replicas: int, machine: Machine) -> Iterator[str]:
    count = machine.usable_gpus
    if replicas < 2 or replicas <= count or machine.nvidia.hidden:
        return
    if count:
        yield (
            f"replicas is {replicas}, expected at most {count}, the GPUs that can be used: set "
            f"replicas={count}, or 0 for all of them"
        )
    else:
        yield (
            f"replicas is {replicas}, and no GPU can be used: a run would divide the CPU into "
            f"{replicas} devices, which is meant for tests; set replicas=0, or CUDA_VISIBLE_DEVICES"
            "=-1 if this is wanted"
        )
