"""The ExampleGen of all data sources, which writes three splits of Examples."""

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.example_gen import examples_summary
from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.generate import finish, generate
from components.example_gen.image_set import SPLITS, DatasetInfo
from components.example_gen.opening import open_dataset

# Set by TFX's own example gens, and read by TFX's components. As text: the constants stand in
# tfx.components, whose import costs five seconds.
_PROPERTIES = {"payload_format": "FORMAT_TF_EXAMPLE", "file_format": "tfrecords_gzip"}


@component(use_beam=True)
def ImageExampleGen(
    examples: OutputArtifact[standard_artifacts.Examples],
    dataset: Parameter[str],
    data_dir: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes the splits train, eval and test, or nothing.

    Args:
      examples: takes gzipped TFRecord files of tf.Example (features: `trainer.features`), with
        their summary, see `examples_summary`.
      dataset: `DatasetInfo.to_json()`, whose fingerprint keeps TFX's cache from returning old data.
      data_dir: tensorflow-datasets' directory; empty for its default.
    """
    planned = DatasetInfo.from_json(dataset)
    try:
        image_set = open_dataset(
            planned.spec, DataConfig(**planned.data), data_dir=data_dir or None
        )
        if image_set.info != planned:
            # The fingerprint at the run's beginning is the cache key of all that follows.
            raise DataError(
                f"dataset {planned.spec!r} has changed since the run began: content "
                f"{image_set.info.fingerprint[:12]}, expected {planned.fingerprint[:12]}; start "
                "the run again"
            )
        with beam_pipeline:
            generate(beam_pipeline, image_set, examples.uri)
        summary = finish(examples.uri)
    except BaseException:
        tf.io.gfile.rmtree(examples.uri)
        tf.io.gfile.makedirs(examples.uri)  # as TFX had made it
        raise
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    for name, value in _PROPERTIES.items():
        examples.set_string_custom_property(name, value)
    examples.set_int_custom_property("span", 0)
    examples_summary.write(examples, summary)
    rows = {name: split.rows for name, split in summary.splits.items()}
    logging.info("Examples of %s: %s", planned.name, rows)
