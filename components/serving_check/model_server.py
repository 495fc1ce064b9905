"""The server where it is installed: tensorflow_model_server, asked over gRPC.

    with serve_with_model_server("tensorflow_model_server", model_directory, Timeouts()) as server:
        server.apis["gRPC"]("serving_default", {"image_bytes": pngs})

It listens on a UNIX socket in a directory that is this user's alone. Its ports would be open on all
interfaces (server.cc, evhttp_server.cc). The REST API has nothing but a port, so it is not asked.

Written from what TensorFlow Serving publishes: its protos and the flags in its main.cc. It was
tried against a stand-in that the tests wrote from the same pages, and never against the real
binary: see docs/serving.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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

from components.serving_check.contract import (
    RequestFailed,
    Server,
    ServerLost,
    ServingError,
    Tensors,
    Timeouts,
)
from components.serving_check.messages import MAX_BYTES
from components.serving_check.process import PREFIX, ServerProcess, server_process

NAME = "tensorflow_model_server"
GRPC = "gRPC"

_MODEL = "candidate"
_VERSION = "1"
_POLL_S = 0.1
_SOCKET_BYTES = 107  # of a UNIX socket's path at most (unix(7))
# While the server loads the model there is no socket yet: by itself gRPC tries ever more seldom.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", MAX_BYTES),
)
# States of a model: `ModelVersionStatus.State`.
_AVAILABLE = "AVAILABLE"
_END = "END"
# What says nothing about the model that was asked.
_OF_THE_MACHINE = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED)


def find_model_server(given: str) -> str | None:
    """The path of tensorflow_model_server; None where none is installed.

    Args:
      given: its path, or empty to look for it on the PATH.

    Raises:
      FileNotFoundError: a path was given, and no executable is there.
    """
    found = shutil.which(given or NAME)
    if given and found is None:
        raise FileNotFoundError(
            f"serving.model_server is {given!r}, expected the path of an executable {NAME}; leave "
            "it empty to look for one on the PATH"
        )
    return found


@contextlib.contextmanager
def serve_with_model_server(
    binary: str, model_directory: Path, timeouts: Timeouts
) -> Iterator[Server]:
    """Runs a server that has loaded the model as long as the context lasts.

    Raises:
      ServerLost: it could not load it, or not in time.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
        base_path = directory / "model"
        base_path.mkdir()
        # No copy is needed: the server takes every entry whose name is a number, whatever it is,
        # and opens the files below it (file_system_storage_path_source.cc).
        (base_path / _VERSION).symlink_to(model_directory, target_is_directory=True)
        address = _socket(directory)
        command = [
            binary,
            "--port=0",
            f"--grpc_socket_path={address}",
            f"--model_name={_MODEL}",
            f"--model_base_path={base_path}",
            # By itself it tries five times more, a minute apart.
            "--max_num_load_retries=0",
        ]
        process = stack.enter_context(server_process(command, directory))
        channel = stack.enter_context(
            grpc.insecure_channel(f"unix:{address}", options=_CHANNEL_OPTIONS)
        )
        api = _GrpcApi(process, channel, timeouts.request_s)
        _wait_until_loaded(process, api, started + timeouts.start_s)
        yield Server(
            name=NAME,
            apis={GRPC: api},
            start_s=time.perf_counter() - started,
            peak_memory_mib=process.peak_memory_mib,
        )


def _socket(directory: Path) -> Path:
    path = directory / "grpc"
    if len(os.fsencode(path)) > _SOCKET_BYTES:
        raise ServerLost(
            f"the path of its UNIX socket has {len(os.fsencode(path))} bytes, expected "
            f"{_SOCKET_BYTES} at most: let TMPDIR name a directory with a shorter path"
        )
    return path


def _wait_until_loaded(process: ServerProcess, api: _GrpcApi, deadline: float) -> None:
    """Waits until the server says that the model is available.

    It listens once it has loaded the model (server.cc, `BuildAndStart`).
    """
    state = ""
    while state != _AVAILABLE:
        if process.ended():
            raise process.lost()
        if time.perf_counter() > deadline:
            raise ServerLost(f"not ready in time{process.last_line()}")
        time.sleep(_POLL_S)
        state, error = api.state()
        if state == _END:
            raise ServerLost(error, by_itself=True)


class _GrpcApi:
    """PredictionService and ModelService."""

    def __init__(self, process: ServerProcess, channel: grpc.Channel, timeout_s: float) -> None:
        self._process = process
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._timeout_s = timeout_s

    def state(self) -> tuple[str, str]:
        """(state, error message) of the model; ("", "") where it is not known yet."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = _MODEL
        try:
            response = self._models.GetModelStatus(request, timeout=self._timeout_s)
        except grpc.RpcError:
            return "", ""
        (version,) = response.model_version_status
        state = get_model_status_pb2.ModelVersionStatus.State.Name(version.state)
        return str(state), str(version.status.error_message)

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
            return self._process.lost()
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerLost(f"no answer within {self._timeout_s:g} s")
        reason = f"{GRPC} {code.name}: {error.details()}"
        return ServerLost(reason) if code in _OF_THE_MACHINE else RequestFailed(reason)
