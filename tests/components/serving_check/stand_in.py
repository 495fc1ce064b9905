"""Stands in for tensorflow_model_server, which cannot be installed where the tests run.

    python stand_in.py --port=8500 --rest_api_port=8501 --model_name=NAME --model_base_path=DIR

Written from TensorFlow Serving's own documentation (api_rest.md, the protos, the flags of main.cc)
and without any code of the client, so that a misreading would have to be made twice. As the real
one, it looks for versions in the base path over and over, brings its APIs up once the highest one
is loaded, gRPC before REST, and ends when that fails. `STAND_IN_MISBEHAVIOUR` names a file that
says how to misbehave; it is read again for each request, since starting takes seconds.
"""

import argparse
import base64
import http.server
import json
import os
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

NEVER_READY = "never ready"
DIES_ON_A_BAD_REQUEST = "dies on a bad request"
HANGS = "hangs"
SLOW = "slow"
ANOTHER_MODEL = "another model"
NO_JSON = "no JSON"
SLOW_S = 0.005


def misbehaviour() -> str:
    path = os.environ.get("STAND_IN_MISBEHAVIOUR")
    return Path(path).read_text() if path else ""


class Failure(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Model:
    """One loaded version."""

    def __init__(self, name: str, base_path: Path, version: int) -> None:
        self.name = name
        self.version = version
        self.loaded = tf.saved_model.load(str(base_path / str(version)))

    def signature(self, name: str):
        if name not in self.loaded.signatures:
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f'Serving signature name: "{name}" not found in signature def',
            )
        return self.loaded.signatures[name]

    def run(self, signature: str, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if misbehaviour() == HANGS:
            time.sleep(3600)
        if misbehaviour() == SLOW:
            time.sleep(SLOW_S)
        try:
            outputs = self.signature(signature)(**inputs)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            if misbehaviour() == DIES_ON_A_BAD_REQUEST:
                os.abort()
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        if misbehaviour() == ANOTHER_MODEL and "probabilities" in outputs:
            # Each image as another one was answered.
            return {name: tf.roll(value, 1, axis=0) for name, value in outputs.items()}
        return dict(outputs)


# --- gRPC ----------------------------------------------------------------------------------------


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model) -> None:
        self.model = model

    def Predict(self, request, context):
        response = predict_pb2.PredictResponse()
        try:
            if request.model_spec.name != self.model.name:
                raise Failure(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            inputs = {key: tf.constant(tf.make_ndarray(t)) for key, t in request.inputs.items()}
            outputs = self.model.run(request.model_spec.signature_name, inputs)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value.numpy()))
        response.model_spec.name = self.model.name
        response.model_spec.version.value = self.model.version
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, model: Model) -> None:
        self.model = model

    def GetModelStatus(self, request, context):
        if request.model_spec.name != self.model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(
            version=self.model.version, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
        )
        return response


# --- REST ----------------------------------------------------------------------------------------


def tensor_of(value: object, spec: tf.TensorSpec) -> tf.Tensor:
    def unwrap(item):
        if isinstance(item, list):
            return [unwrap(inner) for inner in item]
        if isinstance(item, dict):
            return base64.b64decode(item["b64"], validate=True)
        return item

    return tf.constant(unwrap(value), spec.dtype)


def json_of(name: str, value: np.ndarray):
    if isinstance(value, np.ndarray):
        return [json_of(name, item) for item in value]
    if isinstance(value, bytes):
        as_bytes = {"b64": base64.b64encode(value).decode()}
        return as_bytes if name.endswith("_bytes") else value.decode()
    if isinstance(value, np.floating):
        return float(str(value))  # as few digits as tell this float32 from all others
    return value.item()


HTTP_CODES = {grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.NOT_FOUND: 404}


class RestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model

    def do_GET(self) -> None:
        if self.path != f"/v1/models/{self.model.name}":
            self.reply(404, {"error": "Could not find any versions of model"})
            return
        version = {
            "version": str(self.model.version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        self.reply(200, {"model_version_status": [version]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path != f"/v1/models/{self.model.name}:predict":
                raise Failure(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            name = body.get("signature_name", "serving_default")
            specs = self.model.signature(name).structured_input_signature[1]
            if set(body["inputs"]) != set(specs):
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "Missing named input")
            inputs = {key: tensor_of(value, specs[key]) for key, value in body["inputs"].items()}
            outputs = {
                key: json_of(key, value.numpy())
                for key, value in self.model.run(name, inputs).items()
            }
        except Failure as failure:
            self.reply(HTTP_CODES[failure.code], {"error": str(failure)})
            return
        only = len(outputs) == 1
        self.reply(200, {"outputs": next(iter(outputs.values())) if only else outputs})

    def reply(self, status: int, content: object) -> None:
        body = b"<html>" if misbehaviour() == NO_JSON else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# --- the process ---------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--max_num_load_retries", type=int, default=5)
    arguments = parser.parse_args()

    versions: list[int] = []
    while not versions or misbehaviour() == NEVER_READY:
        names = [path.name for path in arguments.model_base_path.iterdir()]
        versions = [int(name) for name in names if name.isdecimal()]
        print("Waiting for models to become available", flush=True)
        time.sleep(0.1)
    version = max(versions)
    for retries_left in range(arguments.max_num_load_retries, -1, -1):
        try:
            model = Model(arguments.model_name, arguments.model_base_path, version)
            break
        except Exception as error:
            if not retries_left:
                print(
                    "Failed to start server. Error: Unknown: 1 servable(s) did not become "
                    f"available: {{{{name: {arguments.model_name} version: {version}}} due to "
                    f"error: {str(error).splitlines()[0]}}}",
                    file=sys.stderr,
                )
                return 255
            time.sleep(60)

    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(model), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(model), server)
    server.add_insecure_port(f"0.0.0.0:{arguments.port}")
    server.start()
    if arguments.rest_api_port:
        RestHandler.model = model
        rest = http.server.ThreadingHTTPServer(("", arguments.rest_api_port), RestHandler)
        threading.Thread(target=rest.serve_forever, daemon=True).start()
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main())
