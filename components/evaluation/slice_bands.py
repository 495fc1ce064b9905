"""Slices by bands of a number, for TFMA, which slices by equal values only.

A slicing spec with the text of a `components.gate.slices.Bands` for a key slices by their index::

    Evaluator(..., module_path=slice_bands.__name__,
              eval_config=EvalConfig(slicing_specs=[SlicingSpec(feature_keys=[str(bands)])]))
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2

from components.gate.slices import Bands


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[Any]:
    """TFMA's own extractors, and one that adds the bands to each example's features."""
    extractors = [
        *model_eval_lib.default_extractors(
            eval_shared_model=eval_shared_model,
            eval_config=eval_config,
            tensor_adapter_config=tensor_adapter_config,
        )
    ]
    bands = bands_of(eval_config)
    if bands:
        # Batches are still whole, and slices not yet cut.
        at = 1 + [extractor.stage_name for extractor in extractors].index("ExtractFeatures")
        added = tfma.extractors.Extractor("ExtractBands", beam.Map(add_bands, bands))
        extractors.insert(at, added)
    return extractors


def bands_of(eval_config: config_pb2.EvalConfig) -> tuple[Bands, ...]:
    """The bands that the slicing specs name."""
    keys = [key for spec in eval_config.slicing_specs for key in spec.feature_keys]
    return tuple(Bands.parse(key) for key in keys if ":" in key)


def add_bands(extracts: dict[str, Any], bands: tuple[Bands, ...]) -> dict[str, Any]:
    """Adds to a batch the feature `str(bands)`, [B, 1] int64, for each of the bands.

    Each example holds one number of their features: `GateConfig` allows no others.
    """
    features = dict(extracts[tfma.FEATURES_KEY])
    for cut in bands:
        numbers = np.ravel(features[cut.feature]).tolist()
        features[str(cut)] = np.array([[cut.index(number)] for number in numbers], np.int64)
    return {**extracts, tfma.FEATURES_KEY: features}
