"""Which server a serving check uses; found without TensorFlow and gRPC, which take seconds."""

from __future__ import annotations

import shutil

MODEL_SERVER = "tensorflow_model_server"
LOADER = "TensorFlow's loader"


def find_model_server(given: str) -> str | None:
    """Returns `given`, or tensorflow_model_server on the PATH, if any; raises FileNotFoundError."""
    found = shutil.which(given or MODEL_SERVER)
    if given and found is None:
        raise FileNotFoundError(
            f"serving.model_server is {given!r}, expected the path of an executable "
            f"{MODEL_SERVER}; leave it empty to look for one on the PATH"
        )
    return found
