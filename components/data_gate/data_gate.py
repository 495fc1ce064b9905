"""The component that stops a run before it trains on data that fail a check.

`DataGate` reads ExampleValidator's anomalies, which alone would let the run go on, and checks what
no schema can state: whether splits share images, whether many labels are wrong, and whether shape
and classes are those of the last release.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components import blessing as blessings
from components import pictures
from components.data_gate.bounds import DataBounds
from components.data_gate.drift_checks import class_counts, drift_checks
from components.data_gate.feature_checks import feature_checks
from components.data_gate.format_checks import format_checks, median_size
from components.data_gate.image_checks import image_checks
from components.data_gate.shown_outliers import shown_outliers
from components.example_gen.examples_summary import ExamplesSummary, read
from components.gate.check import Check, GateRefused, passed
from components.pictures import Pictures
from trainer.host.strict_json import require_object
from trainer.host.text import one_line


def rows_check(split: str, validated: int, recorded: int) -> Check:
    """Checks whether the statistics cover exactly the examples that ExampleGen counted.

    A gzip file that was cut at a record's edge reads without an error.
    """
    return Check.of(
        f"data.{split}.rows",
        validated == recorded > 0,
        validated,
        recorded,
        start=f"{split}: {validated:,} examples validated",
        bad=f", expected the {recorded:,} that ExampleGen wrote; its files are damaged or empty: "
        "run again with --no-cache",
    )


@component
def DataGate(
    examples: InputArtifact[standard_artifacts.Examples],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    schema: InputArtifact[standard_artifacts.Schema],
    blessing: OutputArtifact[standard_artifacts.ExampleAnomalies],
    bounds: Parameter[str],
    released: Parameter[str] = "",
) -> None:
    """Writes a blessing that holds the checks, or raises `GateRefused` with the failed ones first.

    Beside the checks lie the pictures of the likeliest wrong labels. `GateRefused` holds them too,
    with those of examples for which a check failed.

    Args:
      examples: with their summary, see `examples_summary`.
      blessing: of the type that it judges, because Kubeflow's backend resolves TFX's own types
        alone; see `components.blessing`.
      bounds: the fields of `DataBounds` as a JSON object.
      released: the data of the baseline, see `serving_dir.released_data`.
    """
    summary = read(examples)
    splits = artifact_utils.decode_split_names(examples.split_names)
    uris = {split: artifact_utils.get_split_uri([examples], split) for split in splits}
    checks = list(_split_checks(summary, statistics, anomalies, schema))
    before = _released(released)
    known = DataBounds(**require_object("bounds", bounds))
    checks += drift_checks(summary, before, known)
    checks += format_checks(summary, before, known)
    shown = Pictures({}, examined=0)
    # Data that passes so far has images of one shape, and labels within the classes.
    if passed(checks):
        found, shown = image_checks(uris, summary, known)
        checks += found
    if not passed(checks):
        failed = {check.name for check in checks if not check.passed}
        outliers = shown_outliers(failed, uris, summary, known, median_size(summary, before))
        raise GateRefused(checks, dataclasses.replace(shown, groups={**shown.groups, **outliers}))
    blessings.write(blessing, checks)
    pictures.write(shown, Path(blessing.uri))


def _split_checks(
    summary: ExamplesSummary, statistics: Artifact, anomalies: Artifact, schema: Artifact
) -> Iterator[Check]:
    curated = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    for split, recorded in summary.splits.items():
        (stats,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            _read(statistics, split, statistics_gen.DEFAULT_FILE_NAME)
        ).datasets
        yield rows_check(split, stats.num_examples, recorded.rows)
        found = anomalies_pb2.Anomalies.FromString(
            _read(anomalies, split, example_validator.DEFAULT_FILE_NAME)
        )
        yield from feature_checks(split, found, stats, curated)


def _read(artifact: Artifact, split: str, name: str) -> bytes:
    uri = artifact_utils.get_split_uri([artifact], split)
    return bytes(io_utils.read_bytes_file(os.path.join(uri, name)))


def _released(text: str) -> ExamplesSummary | None:
    if not text:
        return None
    try:
        summary = ExamplesSummary.from_json(text)
        class_counts(summary)
    except (KeyError, ValueError) as error:
        raise ValueError(
            "the served model's manifest does not say what it was trained on, expected "
            f"release.dataset with all its fields ({one_line(error)}); use another "
            "--serving-dir, or remove that version"
        ) from error
    return summary
