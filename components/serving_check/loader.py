"""The server where no tensorflow_model_server is installed: TensorFlow's loader in a process.

    with serve_with_loader(model_directory, Timeouts()) as server:
        server.apis["a pipe"]("serving_default", {"image_bytes": pngs})

What runs in that process is `tensorflow_loader`.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from components.serving_check import messages, tensorflow_loader
from components.serving_check.contract import (
    RequestFailed,
    Server,
    ServerLost,
    Tensors,
    Timeouts,
)
from components.serving_check.process import PREFIX, ServerProcess, server_process
from trainer.host.children import python_child

NAME = "TensorFlow's loader"
PIPE = "a pipe"


@contextlib.contextmanager
def serve_with_loader(model_directory: Path, timeouts: Timeouts) -> Iterator[Server]:
    """Runs a process that has loaded the model as long as the context lasts.

    Raises:
      ServerLost: it could not be loaded, or not in time.
    """
    started = time.perf_counter()
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        end = theirs.fileno()
        child = python_child(tensorflow_loader.__name__, str(model_directory), str(end))
        with server_process(
            child.command, Path(directory), environment=child.environment, pass_fds=[end]
        ) as process:
            theirs.close()  # the server's copy is the only one now, so its end is the socket's
            try:
                _receive(ours, process, timeouts.start_s)
            except RequestFailed as reason:
                raise ServerLost(reason, by_itself=True) from None
            yield Server(
                name=NAME,
                apis={PIPE: functools.partial(_ask, ours, process, timeouts.request_s)},
                start_s=time.perf_counter() - started,
                peak_memory_mib=process.peak_memory_mib,
            )


def _ask(
    stream: socket.socket,
    process: ServerProcess,
    timeout_s: float,
    signature: str,
    inputs: Tensors,
) -> Tensors:
    try:
        messages.send(stream, signature, inputs, seconds=timeout_s)
    except messages.Garbled as reason:
        raise ServerLost(f"the request is {reason}") from None
    except OSError:
        pass  # what follows finds out why
    return _receive(stream, process, timeout_s)


def _receive(stream: socket.socket, process: ServerProcess, timeout_s: float) -> Tensors:
    try:
        text, outputs = messages.receive(stream, seconds=timeout_s)
    except TimeoutError:
        raise ServerLost(f"no answer within {timeout_s:g} s{process.last_line()}") from None
    except (EOFError, OSError):
        raise process.lost() from None
    except messages.Garbled as reason:
        raise ServerLost(f"the server sent {reason}") from None
    if text.startswith(tensorflow_loader.EXHAUSTED):
        raise ServerLost(text.removeprefix(tensorflow_loader.EXHAUSTED))
    if text != tensorflow_loader.ANSWERED:
        raise RequestFailed(text.removeprefix(tensorflow_loader.FAILED))
    return outputs
