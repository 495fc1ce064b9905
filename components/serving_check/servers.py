"""A server for a model: tensorflow_model_server where there is one, else TensorFlow's loader.

Synopsis::

    with serve(model_directory, find_model_server(""), Timeouts()) as server:
        server.name, list(server.apis)      # ("tensorflow_model_server", ["gRPC"])
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from components.serving_check.contract import Server, Timeouts
from components.serving_check.loader import serve_with_loader
from components.serving_check.model_server import serve_with_model_server


def serve(
    model_directory: Path, model_server: str | None, timeouts: Timeouts
) -> AbstractContextManager[Server]:
    """A context in which a fresh server has loaded the model.

    Args:
      model_directory: of the SavedModel.
      model_server: path of tensorflow_model_server; None for TensorFlow's loader.
      timeouts: how long is waited.

    Raises:
      ServerLost: on entry, where it could not be loaded.
    """
    # Absolute, since links to it are made elsewhere.
    path = model_directory.resolve()
    if model_server is None:
        return serve_with_loader(path, timeouts)
    return serve_with_model_server(model_server, path, timeouts)
