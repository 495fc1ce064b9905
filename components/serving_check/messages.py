"""What goes through the socket between `loader` and the process that runs the candidate.

Synopsis::

    send(stream, "serving_default", {"pixels": pixels})
    text, tensors = receive(stream, seconds=60.0)

A message is a text and named tensors: a frame of JSON, which holds the strings, and a frame of
bytes for each tensor of numbers. Nothing in it can run code, as a pickle would when it is read: the
other end runs a model that nobody has released yet. Neither TensorFlow nor any other module of ours
is imported.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 512 << 20  # of a message

_LENGTH = struct.Struct("!Q")  # of a frame, in front of it
# V is what NumPy does not know, such as bfloat16.
_NUMBERS = re.compile(r"[<>|][biufcV][1-9][0-9]?")


class Garbled(Exception):
    """No message that is accepted; the text says what it is instead."""


def send(
    stream: socket.socket,
    text: str,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    seconds: float | None = None,
) -> None:
    """Sends one message.

    Args:
      stream: connected to the other end.
      text: of any kind.
      tensors: numbers, or objects that are bytes.
      seconds: how long it may take; None for ever.

    Raises:
      TimeoutError: it took longer.
      OSError: the other end is gone.
      Garbled: it is larger than is accepted.
    """
    entries: list[dict[str, Any]] = []
    frames: list[bytes] = []
    for name, value in tensors.items():
        entry = {"name": name, "shape": value.shape}
        if value.dtype.kind == "O":
            entry["strings"] = [base64.b64encode(item).decode() for item in value.flat]
        else:
            entry["dtype"] = value.dtype.str
            frames.append(value.tobytes())
        entries.append(entry)
    frames.insert(0, json.dumps({"text": text, "tensors": entries}).encode())
    _require_at_most(MAX_BYTES, sum(map(len, frames)))
    stream.settimeout(seconds)
    stream.sendall(b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames))


def receive(
    stream: socket.socket, *, seconds: float | None = None
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Waits for one message.

    Args:
      stream: connected to the other end.
      seconds: how long it may take until all of it is here; None for ever.

    Raises:
      TimeoutError: it took longer.
      EOFError: the other end is closed.
      OSError: the connection broke.
      Garbled: what came is no message, or larger than is accepted.
    """
    end = None if seconds is None else time.monotonic() + seconds
    frame = _frame(stream, MAX_BYTES, end)
    left = MAX_BYTES - len(frame)
    tensors: dict[str, npt.NDArray[Any]] = {}
    try:
        head = json.loads(frame)
        for entry in head["tensors"]:
            if "strings" in entry:
                value = _strings(entry["strings"])
            else:
                dtype = _dtype(entry["dtype"])
                frame = _frame(stream, left, end)
                left -= len(frame)
                value = np.frombuffer(frame, dtype)
            tensors[str(entry["name"])] = value.reshape(entry["shape"])
        return str(head["text"]), tensors
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Garbled(f"no message: {error!r:.200}") from None


def _strings(encoded: list[str]) -> npt.NDArray[np.object_]:
    value = np.empty(len(encoded), object)
    value[:] = [base64.b64decode(item, validate=True) for item in encoded]
    return value


def _dtype(text: str) -> np.dtype[Any]:
    if not _NUMBERS.fullmatch(text):
        raise ValueError(f"{text!r} is no kind of numbers")
    return np.dtype(text)


def _require_at_most(bound: int, size: int) -> None:
    if size > bound:
        raise Garbled(f"a message of {size:,} bytes or more, expected at most {bound:,}")


def _frame(stream: socket.socket, bound: int, end: float | None) -> bytearray:
    (size,) = _LENGTH.unpack(_read(stream, _LENGTH.size, end))
    _require_at_most(bound, size)
    return _read(stream, size, end)


def _read(stream: socket.socket, size: int, end: float | None) -> bytearray:
    """That many bytes, until the clock's `end`."""
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
