"""The curated schema states what an example must look like, from the data set's features alone.

A schema that SchemaGen infers from the statistics fits them by construction, so it hardly finds an
error in them. The curated schema is written before any example is read. With it StatisticsGen
counts the bytes of an image instead of its values.
"""

import json
import os
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from trainer import features

# The name by which TFX's components find it; it must be the only file in its directory.
FILE_NAME = "schema.pbtxt"

_ANY_SHAPE = ((1, features.MAX_PIXELS), (1, features.MAX_PIXELS), (1, 4))
_KINDS = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "str": schema_pb2.BYTES}


def curated_schema(
    spec: features.ImageSpec,
    extra: Mapping[str, str],
    *,
    min_mean_intensity: float,
    max_mean_intensity: float,
) -> schema_pb2.Schema:
    """Returns the schema of all splits; each image's mean must lie within the bounds, 0..1.

    `extra` has the types of the further features, see `DatasetInfo`.
    """
    # What is resized may be stored in any shape; the data gate judges the sizes.
    shape = _ANY_SHAPE if spec.resize else [(size, size) for size in spec.image_shape]
    height, width, channels = shape
    schema = schema_pb2.Schema()
    # An image domain makes TFDV count sizes. As a mere string, it would keep the most frequent
    # values: 1.5 s more for 70,000 images, and their PNG bytes copied into the statistics.
    _required(schema, features.IMAGE, schema_pb2.BYTES).image_domain.SetInParent()
    _integer(schema, features.LABEL, 0, spec.num_classes - 1)
    _integer(schema, features.HEIGHT, *height)
    _integer(schema, features.WIDTH, *width)
    _integer(schema, features.CHANNELS, *channels)
    domain = _required(schema, features.MEAN_INTENSITY, schema_pb2.FLOAT).float_domain
    domain.min, domain.max = min_mean_intensity, max_mean_intensity
    domain.disallow_nan = domain.disallow_inf = True
    for name, kind in sorted(extra.items()):
        _required(schema, name, _KINDS[kind])
    return schema


def _required(schema: schema_pb2.Schema, name: str, kind: int) -> schema_pb2.Feature:
    """Adds a feature with exactly one value in each example: a scalar, [B] in a batch."""
    feature = schema.feature.add(name=name, type=kind)
    feature.presence.min_fraction = 1.0
    feature.presence.min_count = 1
    feature.shape.SetInParent()
    return feature


def _integer(schema: schema_pb2.Schema, name: str, low: int, high: int) -> None:
    domain = _required(schema, name, schema_pb2.INT).int_domain
    domain.min, domain.max = low, high


@component
def CuratedSchema(
    schema: OutputArtifact[standard_artifacts.Schema],
    dataset: Parameter[str],
    min_mean_intensity: Parameter[float],
    max_mean_intensity: Parameter[float],
) -> None:
    """Writes the curated schema as an artifact.

    It takes only the two bounds that it uses, because Transform and Trainer depend on this
    artifact, and a change of another bound must not make them run again.

    Args:
      dataset: `DatasetInfo.to_json()`.
    """
    described = json.loads(dataset)
    curated = curated_schema(
        features.ImageSpec.from_config(described),
        described.get("extra", {}),
        min_mean_intensity=min_mean_intensity,
        max_mean_intensity=max_mean_intensity,
    )
    io_utils.write_pbtxt_file(os.path.join(schema.uri, FILE_NAME), curated)
