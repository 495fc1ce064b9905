import json
import pickle
import socket
import struct
import subprocess
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from components.serving_check import tensorflow_loader
from components.serving_check.tensorflow_loader import Garbled, receive, send
from trainer.host.children import python_child


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _frame(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!QQ", len(header), len(data)) + header + data


def _message(data: bytes = bytes(4), **entry: object) -> bytes:
    """A message of one tensor, of one number by itself."""
    tensor = {"name": "x", "shape": [1], "dtype": "<f4", "sizes": [4], **entry}
    return _frame(json.dumps({"text": "", "tensors": [tensor]}).encode(), data)


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
    assert (text, list(tensors)) == ("text", ["first", "second"])
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
    assert receive(theirs, timeout_s=10) == ("", {"x": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "sent",
    [
        _frame(pickle.dumps(("", {}))),
        _frame(b"[]"),
        _frame(b"{}"),
        _frame(b"[" * 100_000),
        _frame(b'{"text": "", "tensors": 1}'),
        _message(dtype="O", shape=[2]),
        _message(dtype="O", sizes=[3]),
        _message(dtype="O", sizes=[5]),
        _message(dtype="O", sizes=[-1]),
        _message(dtype="O", sizes=[4.0]),
        _message(sizes=4),
        _message(sizes=["4"]),
        _message(sizes=[2**80]),
        _message(dtype="|O8"),
        _message(dtype="(2)i4,O"),
        _message(dtype=None),
        _message(shape=[3]),
        _message(b"123", sizes=[3]),
        _message(b"", sizes=[], shape=[10**30, 0]),
        _message(shape="ab"),
    ],
)
def test_anything_else_is_refused(ends, sent):
    ours, theirs = ends
    threading.Thread(target=ours.sendall, args=[sent]).start()
    with pytest.raises(Garbled, match=r"^no message: ") as error:
        receive(theirs, timeout_s=10)
    assert len(str(error.value)) < 300


def test_a_message_that_is_too_large_is_refused_before_it_is_read(ends):
    ours, theirs = ends
    ours.sendall(struct.pack("!QQ", 1, tensorflow_loader.MAX_BYTES))
    with pytest.raises(Garbled, match=r"a message of 536,870,913 bytes, expected at most 536,870,"):
        receive(theirs, timeout_s=10)


def test_a_message_that_never_ends_is_waited_for_until_its_time_is_over(ends):
    ours, theirs = ends
    over = threading.Event()

    def drip() -> None:
        ours.sendall(struct.pack("!QQ", 1_000_000, 0))
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
