import pytest
import tensorflow as tf

from trainer.strategy import (
    DeviceError,
    global_batch,
    mirrored_strategy,
    multi_worker_strategy,
    prepare_devices,
)


def test_one_cpu_where_there_is_no_gpu():
    assert mirrored_strategy().num_replicas_in_sync == 1


def test_more_replicas_than_devices_are_refused():
    with pytest.raises(DeviceError, match=r"replicas is 99, but TensorFlow sees \d+ CPU device"):
        mirrored_strategy(99)


def test_logical_devices_come_too_late_once_tensorflow_runs():
    mirrored_strategy()  # TensorFlow has started
    with pytest.raises(DeviceError, match="cannot make 99 logical CPU devices"):
        prepare_devices(99)


def test_global_batch_is_per_replica_batch_times_replicas():
    assert global_batch(per_replica_batch=32, strategy=mirrored_strategy()) == 32


@pytest.fixture
def gpus(monkeypatch):
    """Stand-ins for two GPUs, and those whose memory was told to grow."""
    there = [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in range(2)]
    growing = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: there)
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda device, enable: growing.append((device, enable)),
    )
    return there, growing


def test_the_memory_of_every_gpu_is_left_to_other_processes(gpus):
    there, growing = gpus
    prepare_devices(0)
    assert growing == [(gpu, True) for gpu in there]


def test_it_is_among_several_machines_too_before_they_find_each_other(gpus, monkeypatch):
    there, growing = gpus
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: list(growing))
    assert multi_worker_strategy() == [(gpu, True) for gpu in there]


def test_a_tensorflow_that_has_started_keeps_its_memory(gpus, monkeypatch):
    def started(device, enable):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", started)
    prepare_devices(0)
