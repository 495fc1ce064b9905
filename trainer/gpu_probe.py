"""Runs a small convolution on each GPU that TensorFlow sees, and compares it with the CPU's.

It runs as a process of its own, because it imports TensorFlow and takes memory on the GPUs::

    python -m trainer.gpu_probe
    {"problem": "", "gpus": [{"name": "NVIDIA H200", "problem": ""}]}
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from trainer.host.children import answers, end_with_parent
from trainer.host.text import one_line

if TYPE_CHECKING:
    import numpy as np

SHOW = "--show"  # the argument that leaves TensorFlow's log on stderr

# Of sums of 9 products of numbers below 1 in float32, whose order differs: 9 * 2**-23 is 1.1e-6.
_TOLERANCE = 1e-5


def probe() -> dict[str, Any]:
    """Returns the GPUs that TensorFlow sees, each with the reason why it cannot be used, or "".

    `problem` says why TensorFlow itself cannot be used.
    """
    try:
        import tensorflow as tf

        # An operation that a GPU cannot do must fail, and not move to the CPU; and in
        # TensorFloat-32 results would differ by 1e-3.
        tf.config.set_soft_device_placement(False)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        expected = convolve("CPU:0")
    except Exception as error:  # whatever an import or the start of the devices raises
        return {"problem": one_line(error), "gpus": []}
    return {
        "problem": "",
        "gpus": [
            {
                "name": tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"),
                "problem": _problem(f"GPU:{number}", expected),
            }
            for number, gpu in enumerate(gpus)
        ],
    }


def _problem(device: str, expected: np.ndarray) -> str:
    try:
        return disagreement(convolve(device), expected)
    except Exception as error:  # TensorFlow's own, and RuntimeError when no context can be made
        return one_line(error)


def disagreement(actual: np.ndarray, expected: np.ndarray) -> str:
    """Returns in one line how two results differ, or "" if they agree."""
    largest = float(abs(actual - expected).max())
    if largest <= _TOLERANCE:  # not so for NaN
        return ""
    return f"a convolution differs by {largest:.2g} from the CPU's, expected at most {_TOLERANCE:g}"


def convolve(device: str) -> np.ndarray:
    """Convolves eight images [8, 28, 28, 1] with 16 kernels on a device such as "GPU:0"."""
    import tensorflow as tf

    with tf.device(device):
        image = tf.reshape(tf.linspace(0.0, 1.0, 8 * 28 * 28), [8, 28, 28, 1])
        kernel = tf.reshape(tf.linspace(-1.0, 1.0, 3 * 3 * 16), [3, 3, 1, 16])
        return tf.nn.conv2d(image, kernel, strides=1, padding="SAME").numpy()


def _main(*arguments: str) -> None:
    end_with_parent()
    if SHOW not in arguments:
        with open(os.devnull, "w") as silence:
            os.dup2(silence.fileno(), 2)
    said = answers()
    print(json.dumps(probe()), file=said, flush=True)
    os._exit(0)  # the end of the interpreter would take seconds, and may wait for a GPU


if __name__ == "__main__":
    _main(*sys.argv[1:])
