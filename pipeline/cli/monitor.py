"""`tfx-mnist monitor`: whether requests are still like the test split of the release."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.serving_dir import Version, find, require_valid
from components.serving_dir.version import Trust
from pipeline.cli import logs, output, serving
from pipeline.cli.command import CommandError, Reply, command, option, path_option, verbose
from pipeline.cli.option_types import FRACTION, whole
from pipeline.cli.output import Line
from pipeline.cli.written_files import written_option
from pipeline.result import ExitCode
from pipeline.runners.failures import limit_reached
from trainer.features import ImageSpec

if TYPE_CHECKING:  # NumPy, SciPy and Pillow stand behind them
    from components.monitoring.counts import Summary
    from components.monitoring.drift import Drift
    from pipeline.served_requests import Served


@command(
    done="no drift",
    failed="there is no such version, it is damaged or cannot be loaded, or its release has no "
    "summary of its test split, or one that does not fit its model",
    usage="usage, no such serving directory, or requests refused",
    refused="drift",
)
@path_option(
    "--requests",
    "SOURCE",
    "TensorFlow Serving's request log, a folder of image files, or a table of predictions "
    "(CSV, Parquet, NPZ).",
    required=True,
)
@option("--version", "V", "Version that was asked (default: the live one).", type=whole(0))
@option(
    "--level",
    "P",
    "Probability of a false alarm if nothing has changed.",
    type=FRACTION,
    default="0.05",
)
@option(
    "--tolerance",
    "D",
    "Largest difference of distributions that is no drift, however significant it is.",
    type=FRACTION,
    default="0.02",
)
@written_option("--report", "Write a page of the tests and distributions, HTML.", "the page")
@serving.options
@serving.trust_options
@verbose
def monitor(
    directory: Path,
    requests: Path,
    version: int | None,
    level: float,
    tolerance: float,
    report: Path | None,
    trust: Trust | None,
    verbose: bool,
) -> Reply:
    """Compares served requests with the test split of the release.

    Compares the predicted classes, the confidence, and the images' mean intensity and size with
    what the release recorded. A table with labels also holds the accuracy to the release's floor.
    """
    found = find(directory, version)
    require_valid(found, trust)
    with logs.quiet(show=verbose):
        released, served, drift, names = _compared(
            found, requests, level=level, tolerance=tolerance
        )
    fields = {
        "serving_dir": str(directory),
        "version": found.number,
        "requests": {
            "source": str(requests),
            "rows": served.summary.rows,
            "skipped": served.skipped,
        },
        "level": level,
        "tolerance": tolerance,
        "drift": drift.found,
        "tests": [dataclasses.asdict(test) for test in drift.tests],
        "left_out": list(drift.left_out),
        "report": str(report) if report else None,
    }
    if report:
        from pipeline.report import monitoring

        try:
            monitoring.write(report, fields, released, served.summary, names)
        except OSError as error:
            output.complain(
                f"cannot write the page {report}: {error.strerror}; what was found stands"
            )
    exit_code = ExitCode.REFUSED if drift.found else ExitCode.DONE
    return Reply(fields, list(_lines(found, fields, drift)), exit_code)


def _compared(
    version: Version, source: Path, *, level: float, tolerance: float
) -> tuple[Summary, Served, Drift, Sequence[str]]:
    from components.monitoring.drift import compare
    from components.serving_check.classifier import ModelError
    from pipeline.served_requests import read_requests

    dataset, policy = (version.release.get(name) or {} for name in ("dataset", "policy"))
    try:
        released = _summary(version.release.get("reference"))
        spec = _spec(dataset, num_classes=len(released.classes))
    except ValueError as error:
        raise CommandError(
            f"version {version.number} in {version.path} {error}: release the model anew"
        ) from None
    try:
        served = read_requests(source, version.path, spec)
    except ModelError as error:
        raise CommandError(limit_reached(error.__cause__ or error) or str(error)) from None
    drift = compare(
        released,
        served.summary,
        level=level,
        tolerance=tolerance,
        floor=float(policy.get("floor") or 0.0),
        class_names=spec.class_names,
        labelled=served.labelled,
    )
    return released, served, drift, spec.class_names


def _summary(record: object) -> Summary:
    """Reads that of the test split; raises a ValueError that goes on after "version N"."""
    from components.monitoring.counts import Summary

    try:
        return Summary.from_json(record)
    except ValueError:
        raise ValueError(
            "has no summary of its test split, expected a version of a release since this command "
            "exists"
        ) from None


def _spec(dataset: Mapping[str, Any], *, num_classes: int) -> ImageSpec:
    """Reads what the model sees; raises a ValueError that goes on after "version N"."""
    try:
        for name in ("image_shape", "class_names"):
            if dataset.get(name) is None:
                raise ValueError(f"its data set has no {name}")
        spec = ImageSpec.from_config({**dataset, "resize": dataset.get("resize") or ""})
    except ValueError as error:
        raise ValueError(f"does not say which images its model takes ({error})") from None
    if spec.num_classes != num_classes:
        raise ValueError(
            f"has a summary of {num_classes} classes, expected the {spec.num_classes} of its data "
            "set"
        )
    return spec


def _lines(version: Version, fields: Mapping[str, Any], drift: Drift) -> Iterator[str | Line]:
    requests = fields["requests"]
    skipped = f", {requests['skipped']:,} skipped" if requests["skipped"] else ""
    yield f"version {version.number} in {version.path}"
    yield f"requests: {requests['rows']:,} in {requests['source']}{skipped}"
    for test in drift.tests:
        word, style = ("drift", "bad") if test.drifted else ("alike", "good")
        yield Line(f"  {word}: {test.sentence}", style)
    for line in drift.left_out:
        yield f"  left out: {line}"
    if drift.found:
        yield Line("drift: the requests are not like the test split of the release", "bad")
    else:
        yield Line("no drift", "good")
    if fields["report"]:
        yield f"report: {fields['report']}"
