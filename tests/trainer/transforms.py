"""Makes transform graphs, as TFX's Transform does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from tests.trainer.samples import SPEC, png
from trainer import features
from trainer.features import ImageSpec
from trainer.preprocessing import preprocessing_fn
from trainer.transform_graph import TransformGraph


def write_transform(
    directory: Path,
    rows: Sequence[Mapping[str, Any]],
    feature_spec: Mapping[str, Any],
    preprocessing_fn: Callable[[Any], Any],
) -> str:
    """Analyzes the rows; gives back the directory, which `tft.TFTransformOutput` reads."""
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(feature_spec))
    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(directory / "tmp")),
    ):
        _, transform_fn = (
            pipeline | beam.Create(rows),
            metadata,
        ) | tft_beam.AnalyzeAndTransformDataset(preprocessing_fn)
        _ = transform_fn | tft_beam.WriteTransformFn(str(directory))
    raw_metadata = directory / tft.TFTransformOutput.RAW_METADATA_DIR
    metadata_io.write_metadata(metadata, str(raw_metadata))
    return str(directory)


def write_image_transform(directory: Path, pixels: np.ndarray, labels: np.ndarray) -> str:
    """`preprocessing_fn`, analyzed over images of `SPEC` in this order."""
    return write_spec_transform(directory, SPEC, list(map(png, pixels)), labels)


def write_spec_transform(
    directory: Path, spec: ImageSpec, images: Sequence[bytes], labels: Sequence[int] | np.ndarray
) -> str:
    """`preprocessing_fn`, analyzed over encoded images in this order."""
    return write_transform(
        directory,
        [
            {features.IMAGE: image, features.LABEL: int(label)}
            for image, label in zip(images, labels, strict=True)
        ],
        {
            features.IMAGE: tf.io.FixedLenFeature([], tf.string),
            features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        },
        lambda inputs: preprocessing_fn(inputs, {"spec": spec.to_config()}),
    )


def normalized(directory: str, encoded: Sequence[bytes]) -> np.ndarray:
    """What the transform graph in that directory makes of PNG images: [N, H, W, C] float32."""
    transform = tf.function(TransformGraph(tft.TFTransformOutput(directory)), autograph=False)
    images: tf.Tensor = transform({features.IMAGE: tf.constant(encoded)})[features.NORMALIZED_IMAGE]
    return images.numpy()
