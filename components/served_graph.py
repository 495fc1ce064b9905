"""A SavedModel, loaded as TensorFlow Serving does: its graph restores its own variables.

    graph = ServedGraph("serving/3")
    graph.signatures["predict_pixels"].inputs["pixels"].shape       # [None, 28, 28, 1]
    graph.ask("predict_pixels", {"pixels": pixels})["probabilities"]

`tf.saved_model.load` restores Python's objects, and so answers where no other server can
(docs/decisions/0045). TensorFlow is imported when a model is loaded.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_SIGNATURE = "__saved_model"  # begins the names of what TensorFlow runs to start a model


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a signature takes and gives: a `tf.TensorSpec` for each name."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class NotRestored(RuntimeError):
    """The model reads variables or tables that its graph does not restore; says so in one line."""


class ServedGraph:
    """The graph of a SavedModel with the tag `serve`, in a session of its own.

    Attributes:
      signatures: by their names.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Loads the model; raises what TensorFlow raises, errors of many kinds."""
        import tensorflow as tf

        self._session = tf.compat.v1.Session(graph=tf.Graph())
        loaded = tf.compat.v1.saved_model.load(
            self._session, [tf.saved_model.SERVING], os.fspath(directory)
        )
        self._tensors = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if not name.startswith(_NO_SIGNATURE)
        }

        def specs(tensors: Mapping[str, Any]) -> dict[str, Any]:
            return {
                name: tf.TensorSpec(tensor.tensor_shape, tf.as_dtype(tensor.dtype))
                for name, tensor in tensors.items()
            }

        self.signatures: Mapping[str, Signature] = {
            name: Signature(specs(signature.inputs), specs(signature.outputs))
            for name, signature in self._tensors.items()
        }

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Returns the outputs by name, strings as objects; raises what TensorFlow raises.

        Args:
          signature: the name of one of the signatures.
          inputs: arrays by name; texts and files are bytes objects.

        Raises:
          KeyError: the signature, or one of its inputs, is not there.
          NotRestored: no server but Python could serve the model.
        """
        import tensorflow as tf

        asked = self._tensors[signature]
        if unknown := inputs.keys() - set(asked.inputs):
            raise KeyError(f"no input {min(unknown)!r}")
        try:
            outputs = self._session.run(
                {name: tensor.name for name, tensor in asked.outputs.items()},
                {asked.inputs[name].name: value for name, value in inputs.items()},
            )
        except tf.errors.FailedPreconditionError as error:
            raise NotRestored(
                "its graph does not restore all variables and tables that it reads, so TensorFlow "
                "Serving cannot serve it"
            ) from error
        return {name: _array(value) for name, value in outputs.items()}


def array_of(tensor: Any) -> npt.NDArray[Any]:
    """Returns a `TensorProto` as an array, strings as objects.

    Raises KeyError, TypeError or ValueError, as `tf.make_ndarray` does, if it is damaged.
    One of more values than bytes counts as such: a few bytes may stand for any number of equal
    values, which no client or server sends.
    """
    import tensorflow as tf

    if math.prod(one.size for one in tensor.tensor_shape.dim) > tensor.ByteSize():
        raise ValueError(f"{tensor.ByteSize()} bytes for a tensor of {tensor.tensor_shape}")
    array: npt.NDArray[Any] = tf.make_ndarray(tensor)
    return array


def _array(value: Any) -> npt.NDArray[Any]:
    """Returns an array, also for a scalar, for which TensorFlow gives none."""
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
