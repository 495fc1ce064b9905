"""The ExampleGen of all image sets: a prepared tensorflow-datasets builder becomes Examples.

    info = describe(resolve(text, data_dir=None, cache_dir=cache), text)
    ImageExampleGen(dataset=info.to_json(), data_dir=None, cache_dir=cache, code=digest)

The output `examples` has the splits train, eval and test as gzipped TFRecord files of tf.Example
(features: `trainer.features`), and says what it holds, see `summary`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.example_gen import generate, summary
from components.example_gen.dataset import DatasetInfo, describe
from components.example_gen.errors import DataError
from components.example_gen.features import find_keys
from components.example_gen.sources import resolve

EXAMPLES = "examples"

# What TFX's own example gens set and its readers ask for. As text: the constants stand in
# tfx.components, whose import costs five seconds.
_PAYLOAD_FORMAT = ("payload_format", "FORMAT_TF_EXAMPLE")
_FILE_FORMAT = ("file_format", "tfrecords_gzip")

_REPORT = "report.json"
_STAGING = ".staging"


class ImageExampleGenSpec(ComponentSpec):
    """See `ImageExampleGen`."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "dataset": ExecutionParameter(type=str),
        "data_dir": ExecutionParameter(type=str, optional=True),
        "cache_dir": ExecutionParameter(type=str),
        "code": ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        EXAMPLES: ChannelParameter(type=standard_artifacts.Examples)
    }


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs `generate` and records what came out."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the three splits, or nothing.

        Raises:
          DataError: the data cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])
        try:
            recorded = self._generate(examples, exec_properties)
        except BaseException:
            _remove(examples.uri)
            raise
        examples.split_names = artifact_utils.encode_split_names(list(generate.SPLITS))
        for name, value in (_PAYLOAD_FORMAT, _FILE_FORMAT):
            examples.set_string_custom_property(name, value)
        examples.set_int_custom_property("span", 0)
        summary.write(examples, recorded)

    def _generate(
        self, examples: types.Artifact, exec_properties: dict[str, Any]
    ) -> summary.ExamplesSummary:
        info = DatasetInfo.from_json(exec_properties["dataset"])
        builder = resolve(
            info.spec,
            data_dir=exec_properties.get("data_dir") or None,
            cache_dir=exec_properties["cache_dir"],
        )
        _require_unchanged(info, describe(builder, info.spec))
        output = _output(examples.uri, generate.file_counts(builder))
        for directory in (output.staging, *output.directories.values()):
            tf.io.gfile.makedirs(directory)
        with self._make_beam_pipeline() as pipeline:
            generate.generate(
                pipeline,
                builder=builder,
                source=find_keys(builder.info, info.spec),
                info=info,
                output=output,
            )
        problems, recorded = generate.read_report(output.report)
        if recorded is None:
            raise DataError(_one_line(problems))
        tf.io.gfile.rmtree(output.staging)
        rows = {name: split.rows for name, split in recorded.splits.items()}
        logging.info("Examples of %s: %s", info.name, rows)
        return recorded


def _output(uri: str, files: dict[str, int]) -> generate.Output:
    staging = os.path.join(uri, _STAGING)
    return generate.Output(
        directories={split: os.path.join(uri, f"Split-{split}") for split in generate.SPLITS},
        files=files,
        staging=staging,
        report=os.path.join(staging, _REPORT),
    )


def _require_unchanged(planned: DatasetInfo, found: DatasetInfo) -> None:
    """The cache key of all that follows is the fingerprint that was seen when the run began."""
    if found != planned:
        raise DataError(
            f"dataset {planned.spec!r} has changed since the run began: content "
            f"{found.fingerprint[:12]}, expected {planned.fingerprint[:12]}; start the run again"
        )


def _remove(uri: str) -> None:
    """Leaves nothing of a refused data set, but the directory that TFX made."""
    for name in tf.io.gfile.listdir(uri) if tf.io.gfile.isdir(uri) else ():
        path = os.path.join(uri, name.rstrip("/"))
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)


def _one_line(problems: tuple[str, ...]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


class ImageExampleGen(base_beam_component.BaseBeamComponent):
    """Examples of an image set.

    Args:
      dataset: `DatasetInfo.to_json()`; holds the content's fingerprint, so that changed data is
        never taken from TFX's cache.
      cache_dir: where `mnist_sample` and `idx:DIR` are prepared.
      data_dir: tensorflow-datasets' own directory, None for its default.
      code: a digest of the code that makes the examples; changes the cache key.
    """

    SPEC_CLASS = ImageExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, *, dataset: str, cache_dir: str, data_dir: str | None = None, code: str = ""
    ) -> None:
        super().__init__(
            ImageExampleGenSpec(
                dataset=dataset,
                data_dir=data_dir,
                cache_dir=cache_dir,
                code=code,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
