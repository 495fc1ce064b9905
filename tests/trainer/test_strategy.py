"""Devices of the process of the tests, which has no GPU; tests/trainer/test_gpus.py has others."""

from trainer.strategy import mirrored_strategy, prepare_devices


def test_one_cpu_where_there_is_no_gpu():
    prepare_devices(0)
    assert mirrored_strategy().num_replicas_in_sync == 1
