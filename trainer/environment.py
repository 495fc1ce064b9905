"""Settles variables and garbage collection of every process before it imports TensorFlow.

Only processes that train see the GPUs, which the user may limit by CUDA_VISIBLE_DEVICES as always.
Elsewhere TensorFlow would place small operations on one, with copies for each image: reading MNIST
took a hundred times as long (docs/decisions/0034).

Keras reads `keras.json` from the user's home, or from /tmp if the home cannot be written, and takes
the image data format, the float type and epsilon from it, which gives other numbers or a network
that cannot be built. gRPC uses `http_proxy` even for connections to this machine, and waits forever
for a proxy that does not lead back here. Downloads still use the user's proxy. Matplotlib, which
Keras imports, fails where a user has no home at all. On processors without AVX-512 or AVX-VNNI
TensorFlow does without oneDNN, and trains half as fast.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import glob
import os
import pwd
import socket
from collections.abc import Mapping, MutableMapping

from trainer.cluster import Cluster, ClusterError

_KERAS = {
    "KERAS_BACKEND": "tensorflow",  # the networks run inside TensorFlow graphs
    # No file can lie below it: Keras and tf_keras find no keras.json there, and write none.
    "KERAS_HOME": os.devnull,
    # tensorflow-transform sets it too, where it comes first: `tf.keras` is tf_keras.
    "TF_USE_LEGACY_KERAS": "1",
}
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_KERAS_LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ORACLE_IP = "KERASTUNER_ORACLE_IP"
_EVERYTHING = "*"  # the value of `no_proxy` for all hosts, which gRPC does not know

GPU_FILES = "/dev/nvidia[0-9]*"  # what NVIDIA's driver makes for each GPU

SEES_GPUS = "TFX_MNIST_SEES_GPUS"  # set by the parent of a process that may see the GPUs
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_GIVEN = "TFX_MNIST_CUDA_VISIBLE_DEVICES"  # the user's own, kept for our processes
_ALL = "all"  # as that value: the user has set none
_NONE = "-1"

_ALLOCATIONS = 50_000  # container objects between two searches of the youngest; Python: 700


@functools.cache
def collect_seldom() -> None:
    """For the rest of this process, searches for cyclic garbage less often than Python does.

    Importing TensorFlow, TFX and Beam makes more than a million objects, all of which stay; Python
    would search them again and again (docs/decisions/0014). Call it before these imports.
    """
    gc.set_threshold(_ALLOCATIONS)
    # The end has its own search, which passes over what is frozen. The system frees the memory.
    atexit.register(gc.freeze)


def settle(environment: MutableMapping[str, str]) -> None:
    """Pins Keras's settings, hides GPUs, bypasses proxies between processes that work together,
    switches oneDNN on unless the user has switched it off, and gives a user a home who has none.

    Such processes run on this machine, on the machines of TF_CONFIG or on keras-tuner's chief.
    `import trainer` does this, and children inherit it.
    """
    environment.update(_KERAS)
    for name in _KERAS_LIMITS:
        environment.pop(name, None)
    environment.setdefault(_ONEDNN, "1")
    _show_gpus(environment, shown=SEES_GPUS in environment)
    _connect_directly(environment, _partners(environment))
    if "HOME" not in environment:
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:  # a number alone, as of a container; its engines set this
            environment["HOME"] = "/"


def _show_gpus(environment: MutableMapping[str, str], *, shown: bool) -> None:
    if _GIVEN not in environment or environment.get(_VISIBLE, _NONE) != _NONE:  # set since then
        environment[_GIVEN] = environment.get(_VISIBLE, _ALL)
    given = environment[_GIVEN]
    if not shown:
        environment[_VISIBLE] = _NONE
    elif given == _ALL:
        environment.pop(_VISIBLE, None)
    else:
        environment[_VISIBLE] = given


def gpu_files(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Returns the device files of this machine's NVIDIA GPUs, even if TensorFlow cannot use them.

    There are none if the user has hidden all GPUs by CUDA_VISIBLE_DEVICES.
    """
    return [] if hides_gpus(environment) else sorted(glob.glob(GPU_FILES))


def hides_gpus(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the user's CUDA_VISIBLE_DEVICES hides all GPUs: the list ends at the first number
    that no GPU has.
    """
    first, *_ = environment.get(_GIVEN, environment.get(_VISIBLE, _ALL)).split(",")
    return first.strip() in ("", _NONE)


def _partners(environment: Mapping[str, str]) -> list[str]:
    partners = [*_LOOPBACK, socket.gethostname()]
    if oracle := environment.get(_ORACLE_IP):
        partners.append(oracle)
    with contextlib.suppress(ClusterError):  # said where the cluster is used
        if cluster := Cluster.from_environment(environment):
            partners += [address.rpartition(":")[0].strip("[]") for address in cluster.addresses]
    return partners


def _connect_directly(environment: MutableMapping[str, str], hosts: list[str]) -> None:
    """Adds hosts to those that the user reaches without a proxy.

    `no_grpc_proxy` is gRPC's alone, which takes it in place of `no_proxy` and does not read
    `NO_PROXY` (grpc/src/core/handshaker/http_connect/http_proxy_mapper.cc).
    """
    lower, upper = environment.get("no_proxy", ""), environment.get("NO_PROXY", "")
    given = {
        "no_proxy": lower or upper,
        "NO_PROXY": upper or lower,
        "no_grpc_proxy": environment.get("no_grpc_proxy") or lower or upper,
    }
    for name, text in given.items():
        if name == "no_grpc_proxy" or text.strip() != _EVERYTHING:
            known = [host.strip() for host in text.split(",") if host.strip()]
            environment[name] = ",".join(dict.fromkeys([*known, *hosts]))
        else:
            environment[name] = text
