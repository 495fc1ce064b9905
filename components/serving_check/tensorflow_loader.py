"""The process of the server in `loader`: TensorFlow, and nothing else.

    python -m components.serving_check.tensorflow_loader MODEL_DIRECTORY FILE_DESCRIPTOR

A model that cannot be loaded without TFX, Beam or our packages at hand cannot be served, so none of
them is imported here (Keras is, by TensorFlow itself).

Requests and answers go through one end of a `multiprocessing.Pipe`; the process ends when the other
one is closed. It sends (reason, outputs): once when the model is loaded, then for each (signature,
inputs) that it gets. The reason is empty unless that failed.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

_Reply = tuple[str, dict[str, Any]]  # (reason, outputs)


def main(model_directory: str, file_descriptor: int) -> None:
    """Loads the model, then answers requests until the other end is closed."""
    gc.disable()  # while there is nothing but what stays: that takes 40 % of the import
    import tensorflow as tf

    gc.freeze()
    gc.enable()
    connection = Connection(file_descriptor)
    try:
        model = tf.saved_model.load(model_directory)
    except Exception as error:
        connection.send((_reason(error), {}))
        return
    connection.send(("", {}))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            signature, inputs = connection.recv()
            connection.send(_answer(model.signatures, signature, inputs))


def _answer(signatures: Mapping[str, Any], signature: str, inputs: Mapping[str, Any]) -> _Reply:
    import tensorflow as tf

    if signature not in signatures:
        return f"no signature {signature!r}, the model has {', '.join(sorted(signatures))}", {}
    try:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = signatures[signature](**tensors)
    except Exception as error:  # a request that fails must not end the server
        return _reason(error), {}
    return "", {name: value.numpy() for name, value in outputs.items()}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
