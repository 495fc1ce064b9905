"""The policy's slices for TFMA, which slices by equal values only.

A slicing spec with the text of a `components.gate.slices.Slices` for a key slices by its index::

    Evaluator(..., module_path=slice_extractor.__name__,
              eval_config=EvalConfig(slicing_specs=[SlicingSpec(feature_keys=[str(slices)])]))
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2

from components.gate.slices import Slices, parse


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[Any]:
    """TFMA's own extractors, and one that adds the slices to each example's features."""
    extractors = [
        *model_eval_lib.default_extractors(
            eval_shared_model=eval_shared_model,
            eval_config=eval_config,
            tensor_adapter_config=tensor_adapter_config,
        )
    ]
    slices = slices_of(eval_config)
    if slices:
        # Batches are still whole, and slices not yet cut.
        at = 1 + [extractor.stage_name for extractor in extractors].index("ExtractFeatures")
        added = tfma.extractors.Extractor("ExtractSlices", beam.Map(add_slices, slices))
        extractors.insert(at, added)
    return extractors


def slices_of(eval_config: config_pb2.EvalConfig) -> tuple[Slices, ...]:
    """The slices that the slicing specs name by their text."""
    keys = [key for spec in eval_config.slicing_specs for key in spec.feature_keys]
    return tuple(parse(key) for key in keys if ":" in key or "=" in key)


def add_slices(extracts: dict[str, Any], slices: tuple[Slices, ...]) -> dict[str, Any]:
    """Adds to a batch the feature `str(one)`, [B, 1] int64, for each of the slices.

    Each example holds one value of their features: `RunConfig.require_slices` allows no others.
    """
    features = dict(extracts[tfma.FEATURES_KEY])
    for one in slices:
        features[str(one)] = one.places(np.ravel(features[one.feature]))[:, np.newaxis]
    return {**extracts, tfma.FEATURES_KEY: features}
