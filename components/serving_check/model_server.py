"""The server where it is installed: tensorflow_model_server, asked over gRPC and over REST.

    with serve_with_model_server("tensorflow_model_server", model_directory, Timeouts()) as server:
        server.apis["REST"]("serving_default", {"image_bytes": pngs})

Written from what TensorFlow Serving publishes: its protos, its REST API
(tensorflow.org/tfx/serving/api_rest) and the flags in its main.cc. It was tried against a stand-in
that the tests wrote from the same pages, and never against the real binary: see docs/serving.md.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.serving_check.contract import (
    OUTPUTS,
    BadAnswer,
    RequestFailed,
    Server,
    ServerLost,
    Tensors,
    Timeouts,
)
from components.serving_check.process import PREFIX, ServerProcess, server_process

NAME = "tensorflow_model_server"
GRPC = "gRPC"
REST = "REST"

_HOST = "127.0.0.1"
_VERSION = "1"
_POLL_S = 0.1
# The server is on this machine: no proxy leads to it. An answer may be as large as it likes.
_CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
# States of a model: `ModelVersionStatus.State`.
_AVAILABLE = "AVAILABLE"
_END = "END"


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
    # A name that no other server knows, should one take a port before ours does.
    model = f"candidate-{secrets.token_hex(4)}"
    grpc_port, rest_port = _free_ports()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
        base_path = directory / "model"
        base_path.mkdir()
        # No copy is needed: the server takes every entry whose name is a number, whatever it is,
        # and opens the files below it (file_system_storage_path_source.cc).
        (base_path / _VERSION).symlink_to(model_directory, target_is_directory=True)
        command = [
            binary,
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            f"--model_name={model}",
            f"--model_base_path={base_path}",
            # By itself it tries five times more, a minute apart.
            "--max_num_load_retries=0",
        ]
        process = stack.enter_context(server_process(command, directory))
        channel = stack.enter_context(
            grpc.insecure_channel(f"{_HOST}:{grpc_port}", options=_CHANNEL_OPTIONS)
        )
        grpc_api = _GrpcApi(process, channel, model, timeouts.request_s)
        rest_api = _RestApi(process, rest_port, model, timeouts.request_s)
        _wait_until_loaded(process, rest_api, grpc_api, started + timeouts.start_s)
        yield Server(
            name=NAME,
            apis={GRPC: grpc_api, REST: rest_api},
            start_s=time.perf_counter() - started,
            peak_memory_mib=process.peak_memory_mib,
        )


def _free_ports() -> tuple[int, int]:
    """Two that the system chose."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((_HOST, 0))
        second.bind((_HOST, 0))
        return first.getsockname()[1], second.getsockname()[1]


def _wait_until_loaded(
    process: ServerProcess, rest_api: _RestApi, grpc_api: _GrpcApi, deadline: float
) -> None:
    """Waits until both APIs say that the model is available.

    REST is asked first, as the server brings it up last.
    """
    state = ""
    while state != _AVAILABLE:
        if process.ended():
            raise ServerLost(process.ending())
        if time.perf_counter() > deadline:
            raise ServerLost(f"not ready in time{process.last_line()}")
        time.sleep(_POLL_S)
        state, error = rest_api.state()
        if state == _END:
            raise ServerLost(error)
    state = grpc_api.state(timeout_s=max(_POLL_S, deadline - time.perf_counter()))
    if state != _AVAILABLE:
        raise ServerLost(f"{GRPC} says that the model is {state}, {REST} that it is {_AVAILABLE}")


class _GrpcApi:
    """PredictionService and ModelService."""

    def __init__(
        self, process: ServerProcess, channel: grpc.Channel, model: str, timeout_s: float
    ) -> None:
        self._process = process
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._model = model
        self._timeout_s = timeout_s

    def state(self, timeout_s: float) -> str:
        """The model's state, as `ModelVersionStatus.State` names it."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model
        try:
            response = self._models.GetModelStatus(request, timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            raise ServerLost(f"{GRPC} {error.code().name}: {error.details()}") from None
        (version,) = response.model_version_status
        return str(get_model_status_pb2.ModelVersionStatus.State.Name(version.state))

    def __call__(self, signature: str, inputs: Tensors) -> Tensors:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._predictions.Predict(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise ServerLost(self._process.ending()) from None
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ServerLost(f"no answer within {self._timeout_s:g} s") from None
            raise RequestFailed(f"{GRPC} {error.code().name}: {error.details()}") from None
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


class _RestApi:
    """The model status API, and the predict API in its column format.

    A connection for each request: one that the server closed in between would look like a lost one.
    """

    def __init__(self, process: ServerProcess, port: int, model: str, timeout_s: float) -> None:
        self._process = process
        self._port = port
        self._path = f"/v1/models/{model}"
        self._timeout_s = timeout_s

    def state(self) -> tuple[str, str]:
        """(state, error message) of the model; ("", "") where it is not known yet."""
        try:
            _, body = self._request("GET", self._path)
            (version,) = json.loads(body)["model_version_status"]
            return version["state"], version["status"]["error_message"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return "", ""

    def __call__(self, signature: str, inputs: Tensors) -> Tensors:
        columns = {name: _to_json(value) for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        try:
            status, answer = self._request("POST", f"{self._path}:predict", body)
        except TimeoutError:
            raise ServerLost(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, http.client.HTTPException):
            raise ServerLost(self._process.ending()) from None
        try:
            parsed = json.loads(answer)
            if status != http.HTTPStatus.OK:
                raise RequestFailed(f"{REST} {status}: {parsed['error']}")
            outputs = parsed["outputs"]
            if not isinstance(outputs, dict):  # the only one, whose name is left out
                outputs = {OUTPUTS[signature][0]: outputs}
            return {name: _from_json(value) for name, value in outputs.items()}
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer(f"{REST} {status}, not as documented: {error!r}") from None

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=self._timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()


def _to_json(value: npt.NDArray[Any]) -> Any:
    """Nested lists; strings are wrapped, as bytes need it and other strings may be."""
    if value.dtype.kind == "O":
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return value.tolist()


def _from_json(value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return np.char.encode(array, "utf-8").astype(object)
    return array
