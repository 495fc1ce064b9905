"""The graph of `preprocessing_fn` as training, evaluation and the exported model call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader


class _Loader(SavedModelLoader):
    """Puts a default for each feature that is not given into the graph, always in one order.

    TFT's own is that of a set, another one in each process, so that a model that is trained again
    with the same bits would not be the same model: not the one that was withdrawn, for example.
    """

    def _get_unfed_input_keys(self, input_tensor_keys: Iterable[str]) -> list[str]:
        return sorted(super()._get_unfed_input_keys(input_tensor_keys))


class TransformGraph(tf.Module):
    """The graph of `preprocessing_fn`, on any of its inputs; saved with the object that holds it.

    It replaces TFT's `transform_features_layer`, which AutoGraph converts at its first call and
    when it is saved: 4 s each, for code without a Python branch on a tensor.
    """

    def __init__(self, tft_output: tft.TFTransformOutput) -> None:
        super().__init__()
        loader = _Loader(tft_output.transform_savedmodel_dir)
        self._apply = loader.apply_transform_model
        # The loader itself is not tracked; without what it loaded a saved model lacks its tables.
        self._loaded = [
            value
            for value in vars(loader).values()
            if isinstance(value, tf.__internal__.tracking.Trackable)
        ]

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the transformed features that can be computed from these raw ones, by name.

        Call it inside a `tf.function`, which omits the part of the graph that is not used: called
        eagerly with labels only, it would decode an empty image.
        """
        transformed: dict[str, tf.Tensor] = self._apply(raw)
        return transformed
