"""A fresh server for a model: tensorflow_model_server where there is one, else TensorFlow's loader.

    with serve(model_directory, find_model_server(""), Timeouts()) as server:
        server.ask("serving_default", {"image_bytes": images})

tensorflow_model_server listens on a UNIX socket in a directory that is this user's alone, since its
ports would be open on all interfaces (server.cc, evhttp_server.cc). docs/serving.md says what of
this was tried, and against what.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.serving_check import tensorflow_loader
from components.serving_check.contract import (
    RequestFailed,
    Server,
    ServerLost,
    ServingError,
    Tensors,
    Timeouts,
)
from components.serving_check.model_server import LOADER, MODEL_SERVER, find_model_server
from components.serving_check.server_process import PREFIX, ServerProcess, server_process
from trainer.host.children import python_child

_MODEL = "candidate"
_VERSION = "1"
_POLL_S = 0.1
_SOCKET_BYTES = 107  # of a UNIX socket's path at most (unix(7))
# While the server loads the model there is no socket yet: by itself gRPC tries ever more seldom.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", tensorflow_loader.MAX_BYTES),
)
_AVAILABLE = "AVAILABLE"
# What says nothing about the model that was asked.
_OF_THE_MACHINE = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED)


@contextlib.contextmanager
def serve(model_directory: Path, model_server: str | None, timeouts: Timeouts) -> Iterator[Server]:
    """Runs a server that has loaded the model as long as the context lasts.

    Without a `model_server` it is TensorFlow's loader. Raises ServerLost.
    """
    started = time.perf_counter()
    model = model_directory.resolve()  # absolute, since links to it are made elsewhere
    api: _Grpc | _Pipe
    if model_server is not None:
        api = _Grpc(model_server)
    elif _early:
        api = _early.pop()
    else:
        api = _Pipe()
    with contextlib.closing(api):
        api.load(model, timeouts)
        seconds = time.perf_counter() - started
        yield Server(api.server, api.name, api, seconds, api.process.peak_memory_mib)


_early: list[_Pipe] = []  # at most one


def start_early(model_server: str) -> None:
    """Starts TensorFlow's loader for the next model, unless it is there already or a model server
    is found: it imports TensorFlow beside other work, and then waits.

    What cannot be started, or found, is no error: the check of the model finds out by itself.
    """
    with contextlib.suppress(OSError, ServerLost):
        if not _early and find_model_server(model_server) is None:
            _early.append(_Pipe())


def end_early() -> None:
    """Ends the loader that was started early if no model has taken it."""
    while _early:
        _early.pop().close()


class _Pipe:
    server = LOADER
    name = "a pipe"

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX))
            self._stream, theirs = map(stack.enter_context, socket.socketpair())
            end = theirs.fileno()
            child = python_child(tensorflow_loader.__name__, str(end))
            process = server_process(
                child.command, Path(directory), environment=child.environment, pass_fds=[end]
            )
            self.process = stack.enter_context(process)
            theirs.close()  # the server's copy is the only one now, so its end is the socket's
            self._closing = stack.pop_all()

    def close(self) -> None:
        self._closing.close()

    def load(self, model: Path, timeouts: Timeouts) -> None:
        self._timeout_s = timeouts.request_s
        try:
            self._ask(str(model), {}, timeouts.start_s)
        except RequestFailed as reason:
            raise ServerLost(reason, by_itself=True) from None

    def __call__(self, signature: str, inputs: Tensors) -> Tensors:
        return self._ask(signature, inputs, self._timeout_s)

    def _ask(self, text: str, inputs: Tensors, timeout_s: float) -> Tensors:
        try:
            tensorflow_loader.send(self._stream, text, inputs, timeout_s=timeout_s)
        except tensorflow_loader.Garbled as reason:
            raise ServerLost(f"the request is {reason}") from None
        except OSError:
            pass  # what follows finds out why
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> Tensors:
        try:
            text, outputs = tensorflow_loader.receive(self._stream, timeout_s=timeout_s)
        except TimeoutError:
            raise ServerLost(f"no answer within {timeout_s:g} s") from None
        except (EOFError, OSError):
            raise self.process.lost() from None
        except tensorflow_loader.Garbled as reason:
            raise ServerLost(f"the server sent {reason}") from None
        if text.startswith(tensorflow_loader.EXHAUSTED):
            raise ServerLost(text.removeprefix(tensorflow_loader.EXHAUSTED))
        if text != tensorflow_loader.ANSWERED:
            raise RequestFailed(text.removeprefix(tensorflow_loader.FAILED))
        return outputs


class _Grpc:
    server = MODEL_SERVER
    name = "gRPC"

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._closing = contextlib.ExitStack()

    def close(self) -> None:
        self._closing.close()

    def load(self, model: Path, timeouts: Timeouts) -> None:
        self._timeout_s = timeouts.request_s
        enter = self._closing.enter_context
        directory = Path(enter(tempfile.TemporaryDirectory(prefix=PREFIX)))
        base_path = directory / "model"
        base_path.mkdir()
        # No copy is needed: the server takes every entry whose name is a number, whatever it is,
        # and opens the files below it (file_system_storage_path_source.cc).
        (base_path / _VERSION).symlink_to(model, target_is_directory=True)
        address = _socket_in(directory)
        command = [
            self._binary,
            "--port=0",
            f"--grpc_socket_path={address}",
            f"--model_name={_MODEL}",
            f"--model_base_path={base_path}",
            # By itself it tries five times more, a minute apart.
            "--max_num_load_retries=0",
        ]
        self.process: ServerProcess = enter(server_process(command, directory))
        channel = enter(grpc.insecure_channel(f"unix:{address}", options=_CHANNEL_OPTIONS))
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._wait_until_loaded(timeouts.start_s)

    def _wait_until_loaded(self, timeout_s: float) -> None:
        """The server listens once it has loaded the model (server.cc, `BuildAndStart`)."""
        deadline = time.perf_counter() + timeout_s
        while self._state() != _AVAILABLE:
            if self.process.ended():
                raise self.process.lost()
            if time.perf_counter() > deadline:
                raise ServerLost(f"not ready in time{self.process.last_line()}")
            time.sleep(_POLL_S)

    def _state(self) -> str:
        """Returns the state of the model, `ModelVersionStatus.State`; "" if not known yet."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = _MODEL
        try:
            response = self._models.GetModelStatus(request, timeout=self._timeout_s)
        except grpc.RpcError:
            return ""
        (version,) = response.model_version_status
        return str(get_model_status_pb2.ModelVersionStatus.State.Name(version.state))

    def __call__(self, signature: str, inputs: Tensors) -> Tensors:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = _MODEL
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._predictions.Predict(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._problem(error) from None
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def _problem(self, error: grpc.RpcError) -> ServingError:
        code = error.code()
        if code == grpc.StatusCode.UNAVAILABLE:
            return self.process.lost()
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerLost(f"no answer within {self._timeout_s:g} s")
        reason = f"{self.name} {code.name}: {error.details()}"
        return ServerLost(reason) if code in _OF_THE_MACHINE else RequestFailed(reason)


def _socket_in(directory: Path) -> Path:
    path = directory / "grpc"
    if len(os.fsencode(path)) > _SOCKET_BYTES:
        raise ServerLost(
            f"the path of its UNIX socket has {len(os.fsencode(path))} bytes, expected "
            f"{_SOCKET_BYTES} at most: let TMPDIR name a directory with a shorter path"
        )
    return path
