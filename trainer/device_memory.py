"""The line that stands for TensorFlow's errors when the memory of a device is used up."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator

import tensorflow as tf

from trainer.host.text import one_line, size

_TENSOR = re.compile(
    r"OOM when allocating tensor with shape\[([\d,]*)\] and type (\w+) on "
    r"(?:/job:localhost/replica:0/task:0/device:)?(\S+)"
)
_NO_COPY = "Dst tensor is not initialized"  # InternalError: there was no room for a copy on a GPU


class OutOfMemory(MemoryError):
    """The memory of a device is used up; the message is one line for the user."""


@contextlib.contextmanager
def enough_for(what: str, *, remedy: str) -> Iterator[None]:
    """Raises `OutOfMemory` if the memory of a device is used up within the block, which needs it
    for `what`.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as error:
        if isinstance(error, tf.errors.InternalError) and _NO_COPY not in error.message:
            raise
        raise OutOfMemory(
            f"{what} exceeds the memory of a device ({_wanted(error)}): {remedy}"
        ) from error


def _wanted(error: tf.errors.OpError) -> str:
    found = _TENSOR.search(error.message)
    if found is None:
        return one_line(error)
    shape, kind, device = found.groups()
    values = math.prod(map(int, filter(None, shape.split(","))))
    num_bytes = values * tf.as_dtype(kind).size
    return f"{size(num_bytes)} on {device} for {kind}[{shape}]"
