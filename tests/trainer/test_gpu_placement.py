"""Where TensorFlow would run the operations of a training step on a machine with a GPU.

TensorFlow's build for CUDA knows its kernels on every machine: for which types there is one for a
GPU, and which of its inputs and outputs lie in the host's memory. In a process of its own, the
second of two logical devices of the CPU stands for the GPU.
"""

import collections
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from pipeline.presets import PRESETS
from tests.trainer.devices import in_own_process
from trainer import batches, loop
from trainer.augmentation import make_augmentation
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.inputs import LoadedSplit
from trainer.state import State
from trainer.strategy import prepare_devices

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not tf.sysconfig.get_build_info()["is_cuda_build"], reason="TensorFlow without CUDA"
    ),
]

HOST, GPU = "CPU:0", "CPU:1"
CASES = {
    "fast": (PRESETS["fast"](), 1),
    "best": (PRESETS["best"](), 1),
    "photos": (HParams(architecture="residual", horizontal_flip=True, color_jitter=0.2), 3),
}


def step_of(hparams: HParams, channels: int) -> tf.Graph:
    """The graph of one step."""
    spec = ImageSpec((28, 28, channels), ("cat", "dog"))
    rows = hparams.per_replica_batch
    images, labels = tf.zeros([rows, *spec.image_shape], tf.uint8), tf.zeros([rows, 2])
    split = LoadedSplit(images, labels, levels=tf.zeros([256, channels]))
    strategy = tf.distribute.MirroredStrategy([GPU])
    made = batches.TrainingBatches(
        split, batch=rows, seed=0, augmentation=make_augmentation(hparams), strategy=strategy
    )
    state = State(hparams, spec, strategy, seed=0, total_steps=1)
    steps = loop._train_steps(state, made, strategy, hparams)
    graph = steps.get_concrete_function(tf.constant(0), tf.constant(1)).graph
    (loop_,) = (one for one in graph.get_operations() if one.type in ("While", "StatelessWhile"))
    return graph._get_function(loop_.get_attr("body").name).graph


def kernel_of(operation: tf.Operation) -> object | None:
    """TensorFlow's kernel for a GPU; None if it has none for these types."""
    for kernel in kernels.get_registered_kernels_for_op(operation.type).kernel:
        fits = all(
            np.isin(operation.get_attr(one.name), one.allowed_values.list.type).all()
            for one in kernel.constraint
        )
        if kernel.device_type in ("GPU", "DEFAULT") and fits:
            return kernel
    return None


def on_host(operation: tf.Operation) -> tuple[set[int], set[int]]:
    """The numbers of the inputs and of the outputs that lie in the host's memory."""
    kernel = kernel_of(operation)
    if operation.device.endswith(HOST) or kernel is None:
        return set(range(len(operation.inputs))), set(range(len(operation.outputs)))
    found = []
    for arguments in (operation.op_def.input_arg, operation.op_def.output_arg):
        numbers, first = set(), 0
        for one in arguments:
            count = operation.get_attr(one.number_attr) if one.number_attr else 1
            if one.type_list_attr:
                count = len(operation.get_attr(one.type_list_attr))
            if one.name in kernel.host_memory_arg:
                numbers |= set(range(first, first + count))
            first += count
        found.append(numbers)
    return found[0], found[1]


def placed(graph: tf.Graph) -> dict[str, list[str]]:
    """The operations that have no kernel for the GPU, and those that read on the host what the GPU
    computes, which waits for it; but constants, of which TensorFlow computes another one at first.
    """
    missing, waiting, outputs = [], [], collections.defaultdict(set)
    for operation in graph.get_operations():
        read, outputs[operation.name] = on_host(operation)
        if operation.type == "Placeholder":  # arguments: int32 and handles lie there
            for number, one in enumerate(operation.outputs):
                if one.dtype in (tf.int32, tf.resource):
                    outputs[operation.name].add(number)
            continue
        if not operation.device.endswith(HOST) and kernel_of(operation) is None:
            missing.append(operation.type)
        for number, one in enumerate(operation.inputs):
            is_there = one.value_index in outputs[one.op.name] or one.dtype == tf.resource
            of_constants = one.op.type == "Const" and operation.type == "Range"
            if number in read and not is_there and not of_constants:
                waiting.append(operation.type)
    return {"without a kernel": missing, "waits": waiting}


def main() -> None:
    prepare_devices(2)
    batches._GPU = GPU
    print(json.dumps({name: placed(step_of(*case)) for name, case in CASES.items()}))


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, list[str]]]:
    said = in_own_process(f"from {__name__} import main; main()")
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_the_gpu_has_a_kernel_for_each_operation_of_a_step(found, name):
    """Without one the CPU is taken, and all that the operation reads is copied there: of a gather
    of rows the whole of train.
    """
    assert found[name]["without a kernel"] == []


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_the_gpu_for_its_sums_and_for_each_dropout(found, name):
    """The seed of Keras's dropout is a variable of the GPU."""
    dropouts = 4 if name == "best" else 0
    expected = {"Identity": 2, "StatelessRandomGetKeyCounter": dropouts}
    assert collections.Counter(found[name]["waits"]) == collections.Counter(expected)
