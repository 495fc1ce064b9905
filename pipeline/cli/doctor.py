"""`tfx-mnist doctor`: what this machine has, what a run would use, and what is missing."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator

from components.example_gen.sources import parse_dataset
from components.serving_check.model_server import LOADER
from pipeline.cli import configuration, logs, output
from pipeline.cli.command import Reply, command, verbose
from pipeline.cli.configuration import Given, pass_given
from pipeline.config import RunConfig
from pipeline.doctor.machine import Engine, Gpu, Machine
from pipeline.doctor.missing import devices, missing
from pipeline.hooks import require_programs
from pipeline.places import require_places
from pipeline.result import ExitCode
from trainer.host.errors import UserError

_NOT_INSTALLED = "not installed"
_MIB_PER_GIB = 1024
_SHOWN = {"apache-beam": "Beam", "keras": "Keras"}
_ENGINES = {"docker": "Docker", "podman": "Podman"}
_USES = {"training": "used to train", "serving_check": "used to serve"}
_PYTHONS = {"1.16": "3.10", "1.21": "3.11 to 3.13"}  # by TFX generation, see setup.py


@command(
    done="all that the configuration asks for is there",
    failed="something that the configuration asks for is missing; a line on stderr names each",
    usage="usage or configuration refused",
    shows=lambda _: True,
)
@configuration.options()
@verbose
@pass_given
def doctor(given: Given, /, *, verbose: bool) -> Reply:
    """Shows what this machine has and what a run would use.

    Takes the options of `run`, and fails if they ask for something that is missing: a package,
    GPUs, a CUDA library, or what a run refuses before it prepares data, such as a server that does
    not answer, a key or a directory to write in. Nothing is written but the small object with which
    a run, too, tries the store of --artifacts. TensorFlow is imported only where there is a GPU, to
    try a small convolution on each one, or with -v, which also shows its log.
    """
    from pipeline.doctor.look import examine

    config = given.configuration()
    parse_dataset(config.dataset)
    machine = examine(config, verbose=verbose)
    lacking = missing(config, machine)
    if machine.packages["apache-beam"]:
        lacking += _refused(config, verbose=verbose)
    used = {
        "training": devices(config, machine),
        "serving_check": machine.model_server or LOADER,
    }
    fields = {**dataclasses.asdict(machine), "used": used, "missing": lacking}
    exit_code = ExitCode.FAILED if lacking else ExitCode.DONE
    rows = [*_rows(machine), *((_USES[name], text) for name, text in used.items())]
    if not lacking:
        rows.append(("missing", "nothing"))
    return Reply(fields, output.table(rows), exit_code, lacking)


def _refused(config: RunConfig, *, verbose: bool) -> list[str]:
    """Returns the line with which a run would refuse the configuration, if it would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as Beam's libraries warn of Python 3.10
        from pipeline.preflight import require_possible

    try:
        require_programs(config.hooks)
        require_places(config)
        with logs.quiet(show=verbose):
            require_possible(config)
    except UserError as error:
        return [str(error)]
    return []


def _rows(machine: Machine) -> Iterator[tuple[str, str]]:
    yield "Python", f"{machine.python.version}, {machine.python.executable}"
    yield "TFX", _tfx(machine)
    yield "TensorFlow", _tensorflow(machine)
    for name, version in machine.packages.items():
        if name != "tfx":
            yield _SHOWN.get(name, name), version or _NOT_INSTALLED
    yield "NVIDIA driver", _driver(machine)
    for number, gpu in enumerate(machine.gpus):
        yield f"GPU {number}", _gpu(gpu)
    yield "CUDA libraries", _libraries(machine)
    for engine in machine.engines:
        yield _ENGINES.get(engine.name, engine.name), _engine(engine)
    yield "TensorFlow Serving", machine.model_server or "not found"


def _tfx(machine: Machine) -> str:
    version = machine.packages["tfx"]
    if version is None:
        return _NOT_INSTALLED
    generation = ".".join(version.split(".")[:2])
    pythons = _PYTHONS.get(generation)
    known = f"for Python {pythons}" if pythons else "which tfx-mnist does not support"
    return f"{version}, the generation {known}"


def _tensorflow(machine: Machine) -> str:
    found = machine.tensorflow
    if found.version is None:
        return _NOT_INSTALLED
    built = f"CUDA {found.cuda} and cuDNN {found.cudnn}" if found.cuda else "no GPU"
    tried = ", cannot be used" if found.problem else ", imported" if found.imported else ""
    return f"{found.version}, built for {built}{tried}"


def _driver(machine: Machine) -> str:
    nvidia = machine.nvidia
    if nvidia.device is None:
        return "none: no /dev/nvidia0, no /proc/driver/nvidia, no libcuda.so.1 that lists a GPU"
    if nvidia.hidden:
        return f"{nvidia.device}; CUDA_VISIBLE_DEVICES hides all GPUs"
    return f"{nvidia.device}, {nvidia.problem or f'for CUDA up to {nvidia.cuda}'}"


def _gpu(gpu: Gpu) -> str:
    memory = "" if gpu.memory_mib is None else f", {gpu.memory_mib / _MIB_PER_GIB:.1f} GiB"
    if not gpu.seen:
        found = "TensorFlow does not see it"
    else:
        found = gpu.problem or "a convolution gives what the CPU gives"
    return f"{gpu.name}{memory}: {found}"


def _libraries(machine: Machine) -> str:
    libraries = machine.cuda_libraries
    if not libraries:
        cuda = machine.tensorflow.cuda
        return "not known by name for this TensorFlow" if cuda else "not used by this TensorFlow"
    lacking = [library for library in libraries if library.path is None]
    if not lacking:
        return f"all {len(libraries)} that TensorFlow opens"
    names = ", ".join(library.name for library in lacking)
    if len(lacking) == len(libraries):
        return f"none of {names}"
    found = len(libraries) - len(lacking)
    return f"{found} of {len(libraries)} that TensorFlow opens; missing {names}"


def _engine(engine: Engine) -> str:
    if engine.path is None:
        return "not on the PATH"
    return (
        f"{engine.version}, {engine.path}" if engine.version else f"{engine.path}: {engine.problem}"
    )
