"""Devices of the process of the tests, which has no GPU; tests/trainer/test_gpus.py has others."""

import pytest
import tensorflow as tf

from trainer import strategy
from trainer.strategy import (
    mirrored_strategy,
    multi_worker_strategy,
    prepare_devices,
    start_devices,
)


def test_one_cpu_where_there_is_no_gpu():
    prepare_devices(0)
    assert mirrored_strategy().num_replicas_in_sync == 1


def test_a_device_that_cannot_convolve_is_named_with_the_remedy(monkeypatch):
    start_devices("CPU")
    start_devices("GPU")  # there is none

    def fail(device: str) -> None:
        raise tf.errors.UnimplementedError(None, None, f"DNN library is not found.\n{device}")

    monkeypatch.setattr(strategy, "convolve", fail)
    with pytest.raises(
        strategy.DeviceError,
        match=r"^TensorFlow cannot use CPU:0: UnimplementedError: DNN library is not found. CPU:0: "
        r"`tfx-mnist doctor` names what is missing; or set CUDA_VISIBLE_DEVICES=-1 to train on the "
        r"CPU$",
    ):
        start_devices("CPU")


@pytest.fixture
def gpus(monkeypatch) -> list[str]:
    """Lets TensorFlow see two GPUs; collects those whose memory is shared."""
    found = {
        "GPU": [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in range(2)],
        "CPU": [tf.config.PhysicalDevice("/physical_device:CPU:0", "CPU")],
    }
    sharing = []
    monkeypatch.setattr(tf.config, "list_physical_devices", found.get)
    monkeypatch.setattr(tf.config, "list_logical_devices", found.get)
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda gpu, grows: sharing.append(gpu.name) if grows else None,
    )
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: devices)
    return sharing


def test_gpus_train_together_and_leave_memory_to_other_processes(gpus):
    both = ["/physical_device:GPU:0", "/physical_device:GPU:1"]
    for replicas, expected in ((0, both), (1, both[:1]), (2, both)):
        gpus.clear()
        prepare_devices(replicas)
        assert gpus == both
        assert mirrored_strategy(replicas) == expected


def test_each_gpu_is_started(gpus, monkeypatch):
    started = []
    monkeypatch.setattr(strategy, "convolve", started.append)
    start_devices()
    assert started == ["GPU:0", "GPU:1"]


def test_more_gpus_than_there_are_are_refused(gpus):
    with pytest.raises(
        strategy.DeviceError,
        match=r"^replicas is 3, but TensorFlow sees 2 GPU\(s\): ask for 2 or fewer, or hide",
    ):
        prepare_devices(3)


@pytest.mark.parametrize("replicas", [1, 3])
def test_one_of_several_machines_trains_on_all_its_gpus(gpus, replicas):
    line = rf"^replicas is {replicas}, expected 0 or 2 with several machines: each trains on all"
    with pytest.raises(strategy.DeviceError, match=line):
        multi_worker_strategy(replicas)
    assert len(gpus) == 2  # which leave memory to other processes


def test_one_of_several_machines_without_gpus_is_one_replica():
    with pytest.raises(strategy.DeviceError, match=r"^replicas is 2, expected 0 or 1 with several"):
        multi_worker_strategy(2)
