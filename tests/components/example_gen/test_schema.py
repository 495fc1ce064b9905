import json

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components.example_gen.schema import CuratedSchema, curated_schema
from trainer import features

EXTRA = {"weight": "float32", "year": "int64", "camera": "str"}


def schema(resize: str = "") -> schema_pb2.Schema:
    spec = features.ImageSpec((32, 24, 3), ("cat", "dog", "owl"), resize=resize)
    return curated_schema(spec, EXTRA, min_mean_intensity=0.01, max_mean_intensity=0.5)


def domain(name: str, **settings: str):
    (feature,) = (feature for feature in schema(**settings).feature if feature.name == name)
    bounds = getattr(feature, feature.WhichOneof("domain_info"))
    return bounds.min, bounds.max


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (features.HEIGHT, (32, 32)),
        (features.WIDTH, (24, 24)),
        (features.CHANNELS, (3, 3)),
        (features.LABEL, (0, 2)),  # three classes
        (features.MEAN_INTENSITY, (pytest.approx(0.01), 0.5)),
    ],
)
def test_domains_come_from_the_data_sets_features(name, bounds):
    assert domain(name) == bounds


@pytest.mark.parametrize("name", [features.HEIGHT, features.WIDTH])
def test_what_is_resized_may_have_any_side_that_a_reader_takes(name):
    # The data gate's check of sizes knows the remedy for a panorama; the schema does not.
    assert domain(name, resize="pad") == (1, features.MAX_PIXELS)
    assert domain(features.CHANNELS, resize="pad") == (1, 4)  # grey, grey or RGB with alpha


def test_every_feature_is_required_in_every_example():
    assert {feature.presence.min_fraction for feature in schema().feature} == {1.0}


def test_transform_reads_each_feature_as_one_value_per_example():
    spec = schema_utils.schema_as_feature_spec(schema()).feature_spec

    assert spec == {
        features.IMAGE: tf.io.FixedLenFeature([], tf.string),
        features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        features.HEIGHT: tf.io.FixedLenFeature([], tf.int64),
        features.WIDTH: tf.io.FixedLenFeature([], tf.int64),
        features.CHANNELS: tf.io.FixedLenFeature([], tf.int64),
        features.MEAN_INTENSITY: tf.io.FixedLenFeature([], tf.float32),
        "weight": tf.io.FixedLenFeature([], tf.float32),
        "year": tf.io.FixedLenFeature([], tf.int64),
        "camera": tf.io.FixedLenFeature([], tf.string),
    }


def test_the_component_writes_the_schema_that_tfx_reads(tmp_path):
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path / "schema")

    CuratedSchema.test_call(
        schema=artifact,
        dataset=json.dumps(
            {
                "name": "pets",
                "image_shape": [32, 24, 3],
                "class_names": ["cat", "dog", "owl"],
                "extra": EXTRA,
            }
        ),
        min_mean_intensity=0.01,
        max_mean_intensity=0.5,
    )

    (written,) = (tmp_path / "schema").iterdir()
    assert io_utils.SchemaReader().read(str(written)) == schema()
