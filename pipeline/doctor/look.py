"""Looks at the machine: versions without imports, libraries and GPUs in child processes."""

from __future__ import annotations

import contextlib
import glob
import importlib.metadata
import importlib.util
import json
import platform
import runpy
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.serving_check.model_server import find_model_server
from pipeline.config import RunConfig
from pipeline.doctor import engines
from pipeline.doctor.machine import Machine, Nvidia, Python, TensorFlow, joined
from trainer import gpu_probe
from trainer.environment import gpu_files, hides_gpus
from trainer.host import cuda
from trainer.host.children import ending, running_child
from trainer.host.cuda import Device, Library
from trainer.training_process import seeing_gpus

PACKAGES = ("tfx", "apache-beam", "keras", "keras-tuner", "kfp")

_LIBRARIES_S = 30.0
_CONVOLUTION_S = 300.0  # a GPU newer than TensorFlow has its kernels compiled first

# The libraries that TensorFlow opens before it uses a GPU, in its order (`TryDlopenCUDALibraries`
# in dlopen_checker.cc), by the major versions of CUDA and cuDNN that it is built for. The numbers
# are those of the packages that its extra and-cuda requires. NCCL is a part of TensorFlow 2.16, and
# a library of its own for TensorFlow 2.21.
_CUDA_12 = (
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
)
_LIBRARIES = {
    ("12", "8"): (*_CUDA_12, "libcudnn.so.8"),
    ("12", "9"): (*_CUDA_12, "libcudnn.so.9", cuda.NCCL),
}


def examine(config: RunConfig, *, verbose: bool = False) -> Machine:
    """Finds what the machine has; `config` names the model server.

    A child imports TensorFlow if the driver has GPUs, or if `verbose` asks for it; then its log
    appears on stderr.
    """
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(engines.find)
        tensorflow = _tensorflow()
        nvidia, devices, libraries = _ask_for_cuda(tensorflow)
        gpus = tuple(joined(devices, ()))
        if tensorflow.version and (verbose or (devices and tensorflow.cuda)):
            answer = _try_gpus(verbose=verbose)
            tensorflow = replace(tensorflow, imported=True, problem=str(answer["problem"]))
            gpus = tuple(joined(devices, answer.get("gpus", ())))
        return Machine(
            python=Python(platform.python_version(), sys.executable),
            packages={name: _version(name) for name in PACKAGES},
            tensorflow=tensorflow,
            nvidia=nvidia,
            gpus=gpus,
            cuda_libraries=libraries,
            engines=asked.result(),
            model_server=_model_server(config.serving.model_server),
        )


def _version(*names: str) -> str | None:
    """Returns the version of the first distribution of the names that is installed."""
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _tensorflow() -> TensorFlow:
    version, spec = _version("tensorflow", "tensorflow-cpu"), importlib.util.find_spec("tensorflow")
    if version is None or spec is None or spec.origin is None:
        return TensorFlow(None)
    # A module of constants, which `tf.sysconfig.get_build_info` returns.
    constants = Path(spec.origin).parent / "python" / "platform" / "build_info.py"
    build = runpy.run_path(str(constants))["build_info"]
    return TensorFlow(version, build.get("cuda_version"), build.get("cudnn_version"))


def _ask_for_cuda(
    tensorflow: TensorFlow,
) -> tuple[Nvidia, tuple[Device, ...], tuple[Library, ...]]:
    names: tuple[str, ...] = ()
    if tensorflow.cuda and tensorflow.cudnn:
        majors = tensorflow.cuda.partition(".")[0], tensorflow.cudnn.partition(".")[0]
        names = _LIBRARIES.get(majors, ())
    answer = _answer_of(cuda.__name__, *names, timeout_s=_LIBRARIES_S)
    if "libraries" in answer:
        libraries = tuple(Library(**fields) for fields in answer["libraries"])
    else:
        libraries = tuple(Library(name, None, problem=answer["problem"]) for name in names)
    driver = answer.get("driver", {"cuda": None, "devices": [], "problem": answer["problem"]})
    devices = tuple(Device(**fields) for fields in driver["devices"])
    listed = [cuda.DRIVER] if devices else []
    loaded = glob.glob("/proc/driver/nvidia")
    sign = next(iter([*gpu_files(), *listed, *loaded]), None)
    if hides_gpus():
        return Nvidia(sign, hidden=True, cuda=driver["cuda"]), (), libraries
    problem = driver["problem"] if sign else ""
    return Nvidia(sign, cuda=driver["cuda"], problem=problem), devices, libraries


def _try_gpus(*, verbose: bool) -> dict[str, Any]:
    arguments = [gpu_probe.SHOW] if verbose else []
    return _answer_of(gpu_probe.__name__, *arguments, timeout_s=_CONVOLUTION_S)


def _answer_of(module: str, *arguments: str, timeout_s: float) -> dict[str, Any]:
    """Returns the object that a child prints; without one its `problem` says in a line why.

    It sees GPUs and finds libraries as the processes do that train.
    """
    end = time.monotonic() + timeout_s
    with running_child(module, *arguments, **seeing_gpus()) as process:
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        try:
            text = process.stdout.read() if process.stdout else ""
            status = process.wait()
        finally:
            late.cancel()
    if text:
        return {"problem": "", **json.loads(text)}
    if status == -signal.SIGKILL and time.monotonic() >= end:
        return {"problem": f"no answer within {timeout_s:g} s"}
    return {"problem": f"its process {ending(status)}"}


def _model_server(given: str) -> str | None:
    try:
        return find_model_server(given)
    except FileNotFoundError:
        return None
