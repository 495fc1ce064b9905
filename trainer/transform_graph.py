"""The transform graph as a function that can be trained with and exported.

Synopsis::

    transform = TransformGraph(tft_output)
    transform({"image": png})["normalized_image"]      # [B] string -> [B, H, W, C] float32
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader


class TransformGraph(tf.Module):
    """What `preprocessing_fn` became, on any of its inputs; saved along with whatever holds it.

    `transform_features_layer` does the same as a tf_keras model. AutoGraph converts that model's
    code when it is first called, and once more when it is saved: 4 of the Trainer's seconds each,
    for code without a Python branch on a tensor.
    """

    def __init__(self, tft_output: tft.TFTransformOutput) -> None:
        super().__init__()
        loader = SavedModelLoader(tft_output.transform_savedmodel_dir)
        self._apply = loader.apply_transform_model
        # The loader itself is not tracked; without what it loaded a saved model lacks its tables.
        self._loaded = [
            value
            for value in vars(loader).values()
            if isinstance(value, tf.__internal__.tracking.Trackable)
        ]

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Raw features by name -> those transformed features that can be made of them.

        Inside a `tf.function`, where the part of the graph that nobody asks for is left out: called
        eagerly, it decodes an empty image when it is given labels alone.
        """
        transformed: dict[str, tf.Tensor] = self._apply(raw)
        return transformed
