"""What a configuration asks for in vain, by data; and what is found on this machine, for real."""

import importlib.metadata
import os
import platform
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig
from pipeline.doctor import engines, look
from pipeline.doctor.machine import Engine, Gpu, Machine, Nvidia, Python, TensorFlow, joined
from pipeline.doctor.missing import devices, missing
from tests.pipeline.cli.processes import script
from trainer.environment import hides_gpus
from trainer.host.cuda import NCCL, Device, Library
from trainer.tuning.settings import TuningConfig

# --- Wanted and found ----------------------------------------------------------------------------

PACKAGES = {"tfx": "1.21.0", "apache-beam": "2.77.0", "keras-tuner": "1.4.8", "kfp": None}
CUDNN = Library("libcudnn.so.9", "/usr/lib/libcudnn.so.9")
GPU = Gpu("NVIDIA H200", 143_156, seen=True)
UNSEEN = replace(GPU, seen=False)
BROKEN = replace(GPU, problem="InternalError: no cuDNN")
CPU_ONLY = Machine(
    Python("3.12.3", "/venv/bin/python"), PACKAGES, TensorFlow("2.21.0", "12.5.1", "9")
)


def with_gpus(*gpus: Gpu, **fields: Any) -> Machine:
    found = {"nvidia": Nvidia("/dev/nvidia0", cuda="13.0"), "cuda_libraries": (CUDNN,)}
    return replace(CPU_ONLY, gpus=gpus, **found | fields)


@pytest.mark.parametrize(
    ("config", "machine"),
    [
        (RunConfig(), CPU_ONLY),
        (RunConfig(replicas=1), CPU_ONLY),
        (RunConfig(), with_gpus(GPU, GPU)),
        (RunConfig(replicas=2), with_gpus(GPU, GPU)),
        # A GPU that TensorFlow passes over for a better one is not asked for.
        (RunConfig(), with_gpus(GPU, UNSEEN)),
        # CUDA_VISIBLE_DEVICES=-1: the CPU is wanted.
        (RunConfig(replicas=2), with_gpus(nvidia=Nvidia("/dev/nvidia0", hidden=True))),
        (RunConfig(), replace(CPU_ONLY, packages=PACKAGES | {"keras-tuner": None})),
        # A container for the CPU on a machine with GPUs that it did not get.
        (RunConfig(), with_gpus(tensorflow=TensorFlow("2.21.0"))),
        # Without a GPU no library is missed; NCCL is for several.
        (RunConfig(), replace(CPU_ONLY, cuda_libraries=(replace(CUDNN, path=None),))),
        (RunConfig(), with_gpus(GPU, cuda_libraries=(CUDNN, Library(NCCL, None)))),
    ],
)
def test_nothing_is_missing_that_is_not_asked_for(config: RunConfig, machine: Machine) -> None:
    assert missing(config, machine) == []


@pytest.mark.parametrize(
    ("config", "machine", "line"),
    [
        (RunConfig(replicas=2), CPU_ONLY, "replicas is 2, and no GPU can be used"),
        (RunConfig(replicas=2), with_gpus(GPU), "set replicas=1, or 0 for all of them"),
        (
            RunConfig(tuning=TuningConfig(enabled=True)),
            replace(CPU_ONLY, packages=PACKAGES | {"keras-tuner": None}),
            "keras-tuner is not installed: install tfx-mnist",
        ),
        (
            RunConfig(),
            replace(CPU_ONLY, tensorflow=TensorFlow(None)),
            "TensorFlow is not installed",
        ),
        (
            RunConfig(),
            replace(CPU_ONLY, tensorflow=TensorFlow("2.21.0", problem="ImportError: no x")),
            "TensorFlow 2.21.0 cannot be used: ImportError: no x; tfx-mnist doctor -v shows",
        ),
        (
            RunConfig(),
            with_gpus(UNSEEN, tensorflow=TensorFlow("2.21.0")),
            "built without CUDA, so it cannot use the NVIDIA H200: install",
        ),
        (
            RunConfig(),
            with_gpus(nvidia=Nvidia("/dev/nvidia0", problem="libcuda.so.1: no such file")),
            "there is /dev/nvidia0, but the NVIDIA driver gives no GPU: libcuda.so.1: no such",
        ),
        (
            RunConfig(),
            with_gpus(UNSEEN, cuda_libraries=(replace(CUDNN, path=None),)),
            r"are missing: libcudnn.so.9; pip install 'tensorflow\[and-cuda\]==2.21.0'",
        ),
        (
            RunConfig(),
            with_gpus(GPU, GPU, cuda_libraries=(Library(NCCL, None),)),
            "missing: libnccl.so.2",
        ),
        (
            RunConfig(),
            with_gpus(GPU, BROKEN),
            r"GPU 1 \(NVIDIA H200\) cannot be used: InternalError: no cuDNN; repair it",
        ),
        (RunConfig(), with_gpus(UNSEEN), r"sees none of the driver's 1 GPU\(s\): tfx-mnist doctor"),
    ],
)
def test_each_missing_thing_is_one_line_with_its_remedy(
    config: RunConfig, machine: Machine, line: str
) -> None:
    (found,) = missing(config, machine)
    assert re.search(line, found), found
    assert "\n" not in found


def test_a_broken_gpu_does_not_count_for_the_replicas() -> None:
    broken, replicas = missing(RunConfig(replicas=2), with_gpus(GPU, BROKEN))
    assert broken.startswith("GPU 1 ")
    assert replicas.startswith("replicas is 2, expected at most 1, the GPUs that can be used")


@pytest.mark.parametrize(
    ("replicas", "gpus", "used"),
    [
        (0, (), "the CPU"),
        (1, (), "the CPU"),
        (2, (), "the CPU, as 2 devices"),
        (0, (GPU, GPU, BROKEN), "2 GPUs"),
        (1, (GPU, GPU), "1 GPU"),
        (8, (GPU, GPU), "2 GPUs"),
    ],
)
def test_what_a_training_uses(replicas: int, gpus: tuple[Gpu, ...], used: str) -> None:
    assert devices(RunConfig(replicas=replicas), with_gpus(*gpus)) == used


def test_gpus_of_the_driver_meet_those_that_tensorflow_sees() -> None:
    found = [Device("GT 710", 2000), Device("A100", 40_000), Device("A100", 80_000)]
    seen = [{"name": "A100", "problem": ""}, {"name": "A100", "problem": "broken"}]
    assert list(joined(found, seen)) == [
        Gpu("GT 710", 2000, seen=False),
        Gpu("A100", 40_000, seen=True),
        Gpu("A100", 80_000, seen=True, problem="broken"),
    ]
    assert list(joined([], seen[:1])) == [Gpu("A100", None, seen=True)]


@pytest.mark.parametrize(
    ("value", "hidden"),
    [(None, False), ("", True), ("-1", True), ("-1,0", True), ("0", False), ("1,-1", False)],
)
def test_which_values_hide_all_gpus(value: str | None, hidden: bool) -> None:
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert hides_gpus(environment) is hidden


# --- This machine --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> Machine:
    return look.examine(RunConfig())


def test_versions_are_those_of_the_installed_distributions(found: Machine) -> None:
    assert found.python == Python(platform.python_version(), sys.executable)
    assert found.packages["tfx"] == importlib.metadata.version("tfx")
    assert found.packages["apache-beam"] == importlib.metadata.version("apache-beam")
    assert set(found.packages) == {"tfx", "apache-beam", "keras", "keras-tuner", "kfp"}


def test_the_build_of_tensorflow_is_what_tensorflow_says(found: Machine) -> None:
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    assert found.tensorflow == TensorFlow(
        tf.__version__, build["cuda_version"], build["cudnn_version"]
    )


def test_the_libraries_of_both_generations_of_tensorflow_are_known(found: Machine) -> None:
    names = [library.name for library in found.cuda_libraries]
    assert names[0] == "libcudart.so.12"
    assert len(names) in (7, 8)


def test_without_a_gpu_nothing_imports_tensorflow() -> None:
    done = script(
        """
        import sys
        from pipeline.config import RunConfig
        from pipeline.doctor.look import examine
        found = examine(RunConfig())
        heavy = {"apache_beam", "grpc", "keras", "numpy", "tensorflow", "tfx"} & set(sys.modules)
        print(sorted(heavy), found.tensorflow.imported)
        """
    )
    assert (done.stdout, done.stderr) == ("[] False\n", "")


def test_a_child_that_ends_without_an_answer_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = look.examine(RunConfig(), verbose=True)
    assert found.tensorflow.problem == "its process was killed by SIGSEGV"
    assert missing(RunConfig(), found) == [
        f"TensorFlow {found.tensorflow.version} cannot be used: its process was killed by SIGSEGV; "
        "tfx-mnist doctor -v shows its log"
    ]


# --- Docker and Podman ---------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with no engine on it, to which a test adds some."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, commands: str) -> str:
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(commands)}")
    path.chmod(0o755)
    return str(path)


def test_an_engine_that_is_not_on_the_path(path: Path) -> None:
    assert engines.find() == (Engine("docker", None), Engine("podman", None))


def test_an_engine_answers_with_its_version(path: Path) -> None:
    docker = program(path / "docker", 'echo "$1 28.2.2"')
    podman = program(path / "podman", 'echo "$1 4.3.1"')
    assert engines.find() == (
        Engine("docker", docker, "version 28.2.2"),
        Engine("podman", podman, "info 4.3.1"),
    )


def test_an_engine_that_is_not_running_says_why(path: Path) -> None:
    docker = program(path / "docker", "echo\necho a warning >&2\necho no socket >&2\nexit 1")
    podman = program(path / "podman", "exit 125")
    assert engines.find() == (
        Engine("docker", docker, problem="its engine does not answer: no socket"),
        Engine("podman", podman, problem="its engine does not answer: exit status 125"),
    )


def test_an_engine_that_hangs_is_given_up(path: Path) -> None:
    hanging = program(path / "docker", f"exec {sys.executable} -c 'import time; time.sleep(60)'")
    (docker, _) = engines.find(timeout_s=0.2)
    assert docker == Engine("docker", hanging, problem="its engine did not answer within 0.2 s")


def test_an_executable_that_cannot_be_started(path: Path) -> None:
    (path / "docker").write_bytes(b"\x7fELF")
    os.chmod(path / "docker", 0o755)
    (docker, _) = engines.find()
    assert docker.problem == "cannot be started: Exec format error"
