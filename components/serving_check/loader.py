"""The server where no tensorflow_model_server is installed: TensorFlow's loader in a process.

    with serve_with_loader(model_directory, Timeouts()) as server:
        server.apis["a pipe"]("serving_default", {"image_bytes": pngs})

What runs in that process is `tensorflow_loader`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from components.serving_check import tensorflow_loader
from components.serving_check.contract import (
    RequestFailed,
    Server,
    ServerLost,
    Tensors,
    Timeouts,
)
from components.serving_check.process import PREFIX, ServerProcess, server_process
from trainer.children import python_child

NAME = "TensorFlow's loader"
PIPE = "a pipe"


@contextlib.contextmanager
def serve_with_loader(model_directory: Path, timeouts: Timeouts) -> Iterator[Server]:
    """Runs a process that has loaded the model as long as the context lasts.

    Raises:
      ServerLost: it could not be loaded, or not in time.
    """
    started = time.perf_counter()
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        end = theirs.fileno()
        child = python_child(tensorflow_loader.__name__, str(model_directory), str(end))
        with server_process(
            child.command, Path(directory), environment=child.environment, pass_fds=[end]
        ) as process:
            theirs.close()  # the server's copy is the only one now, so its end is the pipe's
            try:
                _receive(ours, process, timeouts.start_s)
            except RequestFailed as reason:
                raise ServerLost(reason) from None
            yield Server(
                name=NAME,
                apis={PIPE: functools.partial(_ask, ours, process, timeouts.request_s)},
                start_s=time.perf_counter() - started,
                peak_memory_mib=process.peak_memory_mib,
            )


def _ask(
    connection: Connection,
    process: ServerProcess,
    timeout_s: float,
    signature: str,
    inputs: Tensors,
) -> Tensors:
    with contextlib.suppress(BrokenPipeError):  # what follows then finds out why
        connection.send((signature, dict(inputs)))
    return _receive(connection, process, timeout_s)


def _receive(connection: Connection, process: ServerProcess, timeout_s: float) -> Tensors:
    try:
        if not connection.poll(timeout_s):
            raise ServerLost(f"no answer within {timeout_s:g} s{process.last_line()}")
        reason, outputs = connection.recv()
    except (EOFError, ConnectionError):
        raise ServerLost(process.ending()) from None
    if reason:
        raise RequestFailed(reason)
    return outputs
