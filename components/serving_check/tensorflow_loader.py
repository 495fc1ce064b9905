"""TensorFlow's loader as a server: what its process does, and the messages to and from it.

    send(stream, "serving_default", {"pixels": pixels})
    text, outputs = receive(stream, timeout_s=60.0)     # text is ANSWERED

TFX, Beam and what defines our networks are not imported here: a model that needs them cannot be
served.

A message is a `PredictRequest` of TensorFlow Serving, which can run no code, behind its size. Its
signature's name is the text: in a request that of the signature; in an answer `ANSWERED`, or
`FAILED` or, where the machine may be the cause, `EXHAUSTED`, and the reason. The first answer says
that the model is loaded.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from components.served_graph import ServedGraph, array_of

ANSWERED = ""
FAILED = "failed: "
EXHAUSTED = "exhausted: "
MAX_BYTES = 512 << 20  # of a message

_NO_REASON = "Graph execution error:"  # begins each error of a session
_SIZE = struct.Struct("!Q")  # of a message, in front of it


class Garbled(Exception):
    """No message that is accepted; the text says what it is instead."""


def send(
    stream: socket.socket,
    text: str,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    timeout_s: float | None = None,
) -> None:
    """Sends one message of numbers or bytes objects; raises TimeoutError, OSError or Garbled."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    message = PredictRequest()
    message.model_spec.signature_name = text.encode(errors="backslashreplace").decode()
    for name, value in tensors.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    _require_acceptable(message.ByteSize())
    stream.settimeout(timeout_s)
    stream.sendall(_SIZE.pack(message.ByteSize()) + message.SerializeToString())


def receive(
    stream: socket.socket, *, timeout_s: float | None = None
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Waits for one whole message; raises TimeoutError, EOFError (closed), OSError or Garbled."""
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    end = None if timeout_s is None else time.monotonic() + timeout_s
    (size,) = _SIZE.unpack(_read(stream, _SIZE.size, end))
    _require_acceptable(size)
    try:
        message = PredictRequest.FromString(_read(stream, size, end))
        if message.ByteSize() != size:  # protobuf 3 warns, and leaves out what it cannot read
            raise ValueError("more than a PredictRequest")
        tensors = {name: array_of(value) for name, value in message.inputs.items()}
    except (DecodeError, KeyError, TypeError, ValueError) as error:
        raise Garbled(f"no message: {error!r:.200}") from None
    return message.model_spec.signature_name, tensors


def _require_acceptable(size: int) -> None:
    if size > MAX_BYTES:
        raise Garbled(f"a message of {size:,} bytes, expected at most {MAX_BYTES:,}")


def _read(stream: socket.socket, size: int, end: float | None) -> bytearray:
    """Reads `size` bytes until `end`, in seconds of `time.monotonic`."""
    content = bytearray(size)
    missing = memoryview(content)
    while missing:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        stream.settimeout(left)
        count = stream.recv_into(missing)
        if not count:
            raise EOFError
        missing = missing[count:]
    return content


def main(file_descriptor: int) -> None:
    """Imports TensorFlow, loads the model of the directory that the first message names, and
    answers requests until the other end is closed.
    """
    # The last line that it writes is said where it ends: no remarks, what is fatal alone.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    gc.disable()  # while there is nothing but what stays: that takes 40 % of the import
    import tensorflow as tf

    gc.freeze()
    gc.enable()
    tf.get_logger().setLevel("ERROR")
    stream = socket.socket(fileno=file_descriptor)
    with contextlib.suppress(EOFError, ConnectionError):
        model_directory, _ = receive(stream)
        try:
            graph = ServedGraph(model_directory)
        except Exception as error:
            send(stream, _reason(error), {})
            return
        send(stream, ANSWERED, {})
        while True:
            signature, inputs = receive(stream)
            send(stream, *_answer(graph, signature, inputs))


def _answer(
    graph: ServedGraph, signature: str, inputs: Mapping[str, npt.NDArray[Any]]
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    if signature not in graph.signatures:
        known = ", ".join(sorted(graph.signatures))
        return f"{FAILED}no signature {signature!r}, the model has {known}", {}
    try:
        return ANSWERED, graph.ask(signature, inputs)
    except Exception as error:  # a request that fails must not end the server
        return _reason(error), {}


def _reason(error: Exception) -> str:
    import tensorflow as tf

    of_the_machine = (
        MemoryError,
        tf.errors.PermissionDeniedError,
        tf.errors.ResourceExhaustedError,
        tf.errors.UnavailableError,
    )
    kind = EXHAUSTED if isinstance(error, of_the_machine) else FAILED
    return f"{kind}{type(error).__name__}: {str(error).removeprefix(_NO_REASON).strip()}"


if __name__ == "__main__":
    main(int(sys.argv[1]))
