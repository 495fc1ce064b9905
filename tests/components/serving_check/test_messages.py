import json
import pickle
import socket
import struct
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from components.serving_check import messages
from components.serving_check.messages import Garbled, receive, send


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _frame(content: bytes) -> bytes:
    return struct.pack("!Q", len(content)) + content


def _head(*tensors: object) -> bytes:
    return _frame(json.dumps({"text": "", "tensors": tensors}).encode())


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
    text, tensors = receive(theirs, seconds=10)
    assert (text, list(tensors)) == ("text", ["first", "second"])
    np.testing.assert_array_equal(tensors["first"], value)
    assert tensors["first"].dtype == value.dtype
    assert tensors["first"].shape == value.shape
    np.testing.assert_array_equal(tensors["second"], [0, 1])


def test_numbers_that_numpy_does_not_know_arrive_as_no_numbers(ends):
    ours, theirs = ends
    send(ours, "", {"x": np.ones(2, ml_dtypes.bfloat16)})
    assert receive(theirs, seconds=10)[1]["x"].dtype.kind == "V"


@pytest.mark.parametrize(
    "sent",
    [
        _frame(pickle.dumps(("", {}))),
        _frame(b"[]"),
        _frame(b"{}"),
        _frame(b"[" * 100_000),
        _frame(b'{"text": "", "tensors": 1}'),
        _head({"name": "x", "shape": [1], "strings": ["no base64"]}),
        _head({"name": "x", "shape": [2], "strings": ["YQ=="]}),
        _head({"name": "x", "shape": [1], "strings": 3}),
        _head({"name": "x", "shape": [1], "dtype": "O"}),
        _head({"name": "x", "shape": [1], "dtype": "|O8"}),
        _head({"name": "x", "shape": [1], "dtype": "(2)i4,O"}),
        _head({"name": "x", "shape": [3], "dtype": "<f4"}) + _frame(b"1234"),
        _head({"name": "x", "shape": [1], "dtype": "<f4"}) + _frame(b"123"),
        _head({"name": "x", "shape": [10**30, 0], "dtype": "<f4"}) + _frame(b""),
        _head({"name": "x", "shape": "ab", "dtype": "<f4"}) + _frame(b"1234"),
    ],
)
def test_anything_else_is_refused(ends, sent):
    ours, theirs = ends
    threading.Thread(target=ours.sendall, args=[sent]).start()
    with pytest.raises(Garbled, match=r"^no message: ") as error:
        receive(theirs, seconds=10)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("!Q", messages.MAX_BYTES + 1),
        _head({"name": "x", "shape": [1], "dtype": "|u1"}) + struct.pack("!Q", messages.MAX_BYTES),
    ],
    ids=["head", "numbers"],
)
def test_a_message_that_is_too_large_is_refused_before_it_is_read(ends, sent):
    ours, theirs = ends
    ours.sendall(sent)
    with pytest.raises(Garbled, match=r"a message of .* bytes or more, expected at most 536,870,"):
        receive(theirs, seconds=10)


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
            receive(theirs, seconds=0.3)
    finally:
        over.set()
        dripping.join()


def test_a_message_that_nobody_takes_is_sent_until_its_time_is_over(ends):
    ours, _ = ends
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        send(ours, "", {"x": np.zeros(50_000_000, np.uint8)}, seconds=0.3)
    assert time.monotonic() - start < 60


def test_an_end_that_is_closed_is_no_message(ends):
    ours, theirs = ends
    ours.sendall(_frame(b"{}")[:5])
    ours.close()
    with pytest.raises(EOFError):
        receive(theirs, seconds=10)
