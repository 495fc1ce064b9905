"""The devices that train together."""

from __future__ import annotations

import hashlib

import tensorflow as tf

from trainer.environment import gpu_files
from trainer.gpu_probe import convolve
from trainer.host.text import one_line

_REMEDY = (
    "`tfx-mnist doctor` names what is missing; or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
)


class DeviceError(ValueError):
    """The requested devices do not exist."""


def usable_gpus() -> list[tf.config.PhysicalDevice]:
    """Returns the GPUs that TensorFlow sees, and lets each keep memory for other processes.

    TensorFlow takes all memory of a GPU by default, but the trials of a search share it.
    TF_FORCE_GPU_ALLOW_GROWTH overrides this (`GetAllowGrowthValue` in TensorFlow's
    gpu_bfc_allocator.cc). Raises `DeviceError` if this machine has GPUs that TensorFlow cannot use.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and (found := gpu_files()):
        raise DeviceError(
            f"there are NVIDIA GPUs ({', '.join(found)}), but TensorFlow cannot use them: {_REMEDY}"
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return list(gpus)


def prepare_devices(replicas: int) -> None:
    """Splits the CPU into `replicas` logical devices if there is no GPU; 0 and 1 need one only.

    TensorFlow allows this only before its first operation; the same call again changes nothing.
    Raises `DeviceError` if there are fewer GPUs, or if this machine has GPUs that TensorFlow cannot
    use.
    """
    gpus = usable_gpus()
    if gpus and replicas > len(gpus):
        raise DeviceError(
            f"replicas is {replicas}, but TensorFlow sees {len(gpus)} GPU(s): ask for {len(gpus)} "
            "or fewer, or hide the GPUs with CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
        )
    if not gpus and replicas > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        wanted = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, wanted)


def start_devices(kind: str = "GPU") -> None:
    """Convolves on each device of this kind, so that TensorFlow loads its libraries, which takes
    seconds on a GPU the first time. Raises `DeviceError` if one cannot convolve.
    """
    for number, _ in enumerate(tf.config.list_physical_devices(kind)):
        device = f"{kind}:{number}"
        try:
            convolve(device)
        except (tf.errors.OpError, RuntimeError) as error:  # the latter if no context can be made
            raise DeviceError(
                f"TensorFlow cannot use {device}: {one_line(error)}: {_REMEDY}"
            ) from error


def mirrored_strategy(replicas: int = 0) -> tf.distribute.MirroredStrategy:
    """Makes a MirroredStrategy over `replicas` GPUs, or without GPUs over logical CPU devices.

    With 0 it takes all GPUs, or the one CPU that `prepare_devices` leaves, which makes sure that
    there are enough. Make one per process: TensorFlow mixes up what the replicas of two strategies
    exchange.
    """
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(devices[: replicas or None])


class Disagreement(RuntimeError):
    """The machines that train together would not train the same."""


def multi_worker_strategy(replicas: int) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Makes a MultiWorkerMirroredStrategy, and waits for all machines of TF_CONFIG.

    TensorFlow takes all GPUs of a machine or, without GPUs, one CPU: `replicas` is 0 or their
    number, or `DeviceError` is raised, as for GPUs that TensorFlow cannot use. Raises
    tf.errors.OpError if the other machines do not connect.
    """
    devices = max(1, len(usable_gpus()))
    if replicas not in (0, devices):
        raise DeviceError(
            f"replicas is {replicas}, expected 0 or {devices} with several machines: each trains "
            "on all its GPUs, or on its CPU; hide GPUs with CUDA_VISIBLE_DEVICES"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def require_agreement(strategy: tf.distribute.Strategy, what: str) -> None:
    """Raises `Disagreement` unless all machines of the strategy have the same text."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    own = int.from_bytes(hashlib.sha256(what.encode()).digest()[:4], "big") >> 1  # int32

    @tf.function(autograph=False)
    def gather() -> tf.Tensor:
        def of_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.constant([own]), axis=0)

        return strategy.experimental_local_results(strategy.run(of_replica))[0]

    if set(gather().numpy().tolist()) != {own}:
        raise Disagreement(
            "the machines do not train the same: they need one pipeline root on a file system that "
            "they share, one version of tfx-mnist and of its libraries, and equally many devices"
        )
