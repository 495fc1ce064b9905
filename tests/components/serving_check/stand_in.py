"""Stands in for tensorflow_model_server, which cannot be installed where the tests run.

    python stand_in.py --port=0 --grpc_socket_path=FILE --model_name=NAME --model_base_path=DIR

Written from what TensorFlow Serving publishes (the protos, main.cc, server.cc) and without any code
of the client, so that a misreading would have to be made twice. As the real one, it looks for
versions in the base path over and over, listens once the highest one is loaded, on all interfaces
where a port is not set to 0, and ends when that fails. `STAND_IN_MISBEHAVIOUR` names a file that
says how to misbehave; it is read again for each request, since starting takes seconds.
"""

import argparse
import os
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
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
EXHAUSTED = "exhausted"
ANOTHER_MODEL = "another model"
ANSWERS_AT_LENGTH = "answers at length"


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
        if misbehaviour() == EXHAUSTED:
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "OOM when allocating tensor")
        try:
            outputs = self.signature(signature)(**inputs)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            if misbehaviour() == DIES_ON_A_BAD_REQUEST:
                os.abort()
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        if misbehaviour() == ANOTHER_MODEL and "probabilities" in outputs:
            # Each image as another one was answered.
            return {name: tf.roll(value, 1, axis=0) for name, value in outputs.items()}
        if misbehaviour() == ANSWERS_AT_LENGTH:  # as a model of many classes
            return {**outputs, "probabilities": tf.zeros([128, 10_000])}
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


# --- the process ---------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--grpc_socket_path", default="")
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--max_num_load_retries", type=int, default=5)
    arguments = parser.parse_args()

    if not arguments.port and not arguments.grpc_socket_path:
        print("At least one of port or grpc_socket_path must be set.", file=sys.stderr)
        return 255
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
    if arguments.port:
        server.add_insecure_port(f"0.0.0.0:{arguments.port}")
    if arguments.grpc_socket_path:
        server.add_insecure_port(f"unix:{arguments.grpc_socket_path}")
    server.start()
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main())
