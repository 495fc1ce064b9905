"""Devices of the process of the tests, which has no GPU; tests/trainer/test_gpus.py has others."""

from trainer.strategy import global_batch, mirrored_strategy, prepare_devices


def test_one_cpu_where_there_is_no_gpu():
    prepare_devices(0)
    assert mirrored_strategy().num_replicas_in_sync == 1


def test_global_batch_is_per_replica_batch_times_replicas():
    assert global_batch(per_replica_batch=32, strategy=mirrored_strategy()) == 32
