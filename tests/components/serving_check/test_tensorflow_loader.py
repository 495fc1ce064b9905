import pickle
import socket
import struct
import subprocess
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.framework.types_pb2 import (
    DT_FLOAT,
    DT_INVALID,
    DT_RESOURCE,
    DT_VARIANT,
)
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from components.serving_check import tensorflow_loader
from components.serving_check.tensorflow_loader import Garbled, receive, send
from trainer.host.children import python_child


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _frame(content: bytes) -> bytes:
    return struct.pack("!Q", len(content)) + content


def _message(**fields: object) -> bytes:
    """A message of one tensor, of one number by itself."""
    tensor = TensorProto(**{"dtype": DT_FLOAT, "tensor_content": bytes(4), **fields})
    return _frame(PredictRequest(inputs={"x": tensor}).SerializeToString())


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        np.array([[0.1, np.nan], [np.inf, -0.0]], np.float32),
        np.array([2**40, -1]),
        np.array([b"", b"ends in zero\0", b"\xff\0\n"], object),
        np.array(b"one", object),
        np.array(1.5),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.array([1 + 2j]),
    ],
    ids=str,
)
def test_what_is_sent_arrives(ends, value):
    ours, theirs = ends
    send(ours, "text", {"first": value, "second": np.arange(2)})
    text, tensors = receive(theirs, timeout_s=10)
    assert (text, sorted(tensors)) == ("text", ["first", "second"])
    np.testing.assert_array_equal(tensors["first"], value)
    assert tensors["first"].dtype == value.dtype
    assert tensors["first"].shape == value.shape
    np.testing.assert_array_equal(tensors["second"], [0, 1])


def test_numbers_that_numpy_does_not_know_arrive_as_no_numbers(ends):
    ours, theirs = ends
    send(ours, "", {"x": np.ones(2, ml_dtypes.bfloat16)})
    assert receive(theirs, timeout_s=10)[1]["x"].dtype.kind == "V"


def test_the_message_that_the_forgeries_alter_is_one(ends):
    ours, theirs = ends
    ours.sendall(_message())
    assert receive(theirs, timeout_s=10) == ("", {"x": np.zeros((), np.float32)})


def test_a_text_that_is_no_utf_8_arrives_escaped(ends):
    ours, theirs = ends
    send(ours, "failed: \udcff", {})
    assert receive(theirs, timeout_s=10) == (r"failed: \udcff", {})


@pytest.mark.parametrize(
    "sent",
    [
        _frame(pickle.dumps(("", {}))),
        _frame(b"{}"),
        _frame(b"\xff" * 100_000),
        _frame(_message()[8:-1]),
        _message(dtype=DT_INVALID),
        _message(dtype=DT_RESOURCE),
        _message(dtype=DT_VARIANT),
        _message(dtype=99),
        _message(tensor_content=b"123"),
        _message(tensor_shape=_shape(3)),
        _message(tensor_shape=_shape(1 << 40), tensor_content=b"", float_val=[1.0]),
        _message(tensor_shape=_shape(1 << 40), tensor_content=b"", float_val=[]),
        _message(tensor_shape=_shape(1 << 62, 1 << 62, 0)),
    ],
    ids=range(13),
)
@pytest.mark.filterwarnings("ignore:Unexpected end-group tag:RuntimeWarning")
def test_anything_else_is_refused(ends, sent):
    ours, theirs = ends
    threading.Thread(target=ours.sendall, args=[sent]).start()
    with pytest.raises(Garbled, match=r"^no message: ") as error:
        receive(theirs, timeout_s=10)
    assert len(str(error.value)) < 300


def test_a_message_that_is_too_large_is_refused_before_it_is_read(ends):
    ours, theirs = ends
    ours.sendall(struct.pack("!Q", tensorflow_loader.MAX_BYTES + 1))
    with pytest.raises(Garbled, match=r"a message of 536,870,913 bytes, expected at most 536,870,"):
        receive(theirs, timeout_s=10)


def test_a_message_that_never_ends_is_waited_for_until_its_time_is_over(ends):
    ours, theirs = ends
    over = threading.Event()

    def drip() -> None:
        ours.sendall(struct.pack("!Q", 1_000_000))
        while not over.wait(0.01):
            ours.sendall(b".")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(TimeoutError):
            receive(theirs, timeout_s=0.3)
    finally:
        over.set()
        dripping.join()


def test_a_message_that_nobody_takes_is_sent_until_its_time_is_over(ends):
    ours, _ = ends
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        send(ours, "", {"x": np.zeros(50_000_000, np.uint8)}, timeout_s=0.3)
    assert time.monotonic() - start < 60


def test_an_end_that_is_closed_is_no_message(ends):
    ours, theirs = ends
    ours.sendall(_frame(b"{}")[:5])
    ours.close()
    with pytest.raises(EOFError):
        receive(theirs, timeout_s=10)


def test_it_ends_with_the_connection(exported):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = python_child(tensorflow_loader.__name__, str(theirs.fileno()))
        process = subprocess.Popen(
            child.command,
            env=child.environment,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        send(ours, str(exported), {})
        assert receive(ours, timeout_s=300) == (tensorflow_loader.ANSWERED, {})
    assert process.wait(timeout=300) == 0
