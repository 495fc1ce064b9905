"""The process of the server in `loader`: TensorFlow, and nothing else.

It gets a model's directory and the file descriptor of a socket. A model that cannot be loaded
without TFX, Beam or our packages at hand cannot be served, so none of them is imported here (Keras
is, by TensorFlow itself).

Requests and answers are `messages`; the process ends when the socket's other end is closed. A
request's text is the signature. An answer's text is `ANSWERED`, or what failed: `FAILED` or, where
the machine and not the model may be the cause, `EXHAUSTED`, followed by the reason. The first one
is sent when the model is loaded.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
from collections.abc import Mapping
from typing import Any

from components.serving_check import messages

ANSWERED = ""
FAILED = "failed: "
EXHAUSTED = "exhausted: "


def main(model_directory: str, file_descriptor: int) -> None:
    """Loads the model, then answers requests until the other end is closed."""
    gc.disable()  # while there is nothing but what stays: that takes 40 % of the import
    import tensorflow as tf

    gc.freeze()
    gc.enable()
    stream = socket.socket(fileno=file_descriptor)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            model = tf.saved_model.load(model_directory)
        except Exception as error:
            messages.send(stream, _reason(error), {})
            return
        messages.send(stream, ANSWERED, {})
        while True:
            signature, inputs = messages.receive(stream)
            messages.send(stream, *_answer(model.signatures, signature, inputs))


def _answer(
    signatures: Mapping[str, Any], signature: str, inputs: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    import tensorflow as tf

    if signature not in signatures:
        known = ", ".join(sorted(signatures))
        return f"{FAILED}no signature {signature!r}, the model has {known}", {}
    try:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = signatures[signature](**tensors)
        return ANSWERED, {name: _array(value) for name, value in outputs.items()}
    except Exception as error:  # a request that fails must not end the server
        return _reason(error), {}


def _array(value: Any) -> Any:
    """[...], also of a scalar, which TensorFlow gives as no array."""
    import numpy as np

    found = value.numpy()
    return np.array(found, object) if isinstance(found, bytes) else np.asarray(found)


def _reason(error: Exception) -> str:
    import tensorflow as tf

    of_the_machine = (
        MemoryError,
        tf.errors.PermissionDeniedError,
        tf.errors.ResourceExhaustedError,
        tf.errors.UnavailableError,
    )
    kind = EXHAUSTED if isinstance(error, of_the_machine) else FAILED
    return f"{kind}{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
