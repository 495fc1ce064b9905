import pytest

from trainer.strategy import DeviceError, global_batch, mirrored_strategy, prepare_devices


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
