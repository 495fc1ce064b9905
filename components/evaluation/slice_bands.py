"""Slices by bands of a number, for TFMA, which slices by equal values only.

The Evaluator gets this module's import path. A slicing spec whose feature key is the text of a
`components.gate.slices.Bands`, such as "mean_intensity:0.1,0.15", then slices by the index of the
band::

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

_AFTER = "ExtractFeatures"


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[Any]:
    """Returns TFMA's own extractors, and one that adds the bands to each example's features."""
    extractors = model_eval_lib.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    bands = bands_of(eval_config)
    if not bands:
        return list(extractors)
    # Batches are still whole, and slices not yet cut.
    at = 1 + [extractor.stage_name for extractor in extractors].index(_AFTER)
    added = tfma.extractors.Extractor("ExtractBands", beam.Map(add_bands, bands))
    return [*extractors[:at], added, *extractors[at:]]


def bands_of(eval_config: config_pb2.EvalConfig) -> tuple[Bands, ...]:
    """Returns the bands that the slicing specs name."""
    keys = [key for spec in eval_config.slicing_specs for key in spec.feature_keys]
    return tuple(Bands.parse(key) for key in keys if ":" in key)


def add_bands(extracts: dict[str, Any], bands: tuple[Bands, ...]) -> dict[str, Any]:
    """Returns the batch with the feature `str(bands)`, [B, 1] int64, for each of the bands.

    Raises:
      ValueError: an example lacks the feature, or its value is not a number.
    """
    features = dict(extracts[tfma.FEATURES_KEY])
    for cut in bands:
        values = features.get(cut.feature)
        try:
            numbers = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            numbers = np.asarray(np.nan)
        if values is None or numbers.size != len(values) or np.isnan(numbers).any():
            known = ", ".join(sorted(features))
            raise ValueError(
                f"gate.slices names the feature {cut.feature!r}, expected one number in each "
                f"example; the examples have {known}"
            )
        features[str(cut)] = np.array([[cut.index(value)] for value in numbers.ravel()], np.int64)
    return {**extracts, tfma.FEATURES_KEY: features}
