"""Devices of the process of the tests, which has no GPU; tests/trainer/test_gpus.py has others."""

import pytest
import tensorflow as tf

from trainer import strategy
from trainer.strategy import mirrored_strategy, prepare_devices, start_devices


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
