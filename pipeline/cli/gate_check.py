"""`tfx-mnist gate check`: puts any SavedModel before the release gate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.example_gen.sources import parse_dataset
from pipeline.cli import configuration, logs, summary
from pipeline.cli.command import Reply, UsageError, command, option, path_option, verbose
from pipeline.cli.configuration import Given, pass_given
from pipeline.cli.output import Line
from pipeline.config import RunConfig
from pipeline.config_model import keys
from pipeline.result import ExitCode
from trainer import features
from trainer.host import paths

if TYPE_CHECKING:  # TensorFlow stands behind it
    from pipeline.model_check import ModelCheck, Subject


@command(
    done="passed",
    failed="the decision cannot be written down, the serving directory cannot be read, or there is "
    "no memory to ask a model; nothing was decided",
    usage="usage, data source refused, or a model that does not fit; nothing was decided",
    refused="refused by the gate",
)
@path_option("--model", "DIR", "The SavedModel to decide on.", required=True)
@option("--signature", "NAME", "The model's signature to ask.", default=features.SERVING_DEFAULT)
@path_option("--baseline", "DIR", "The SavedModel that it must not be worse than.")
@option(
    "--baseline-signature",
    "NAME",
    "The baseline's signature to ask.",
    default=features.SERVING_DEFAULT,
)
@option(
    "--dataset",
    "D",
    "The data set of the test images.",
    required=True,
    cls=configuration.DatasetOption,
)
@configuration.options("--data-dir", "--pipeline-root", "--serving-dir", "--set", "--config")
@verbose
@pass_given
def check(
    given: Given,
    /,
    *,
    model: Path,
    signature: str,
    baseline: Path | None,
    baseline_signature: str,
    dataset: str,
    verbose: bool,
) -> Reply:
    """Puts any SavedModel before the release gate, without a run.

    Evaluates it on all test images of a data set, compares it with another SavedModel if one is
    given, and decides by the policy of a run. Nothing is released. --set takes the keys gate.*; a
    configuration file may hold all keys of a run.

    A signature takes any number of images as PNG bytes or as pixels from 0 to 255 (uint8), and
    gives probabilities. Each decision uses the test set up a little, so it is recorded and counted
    in the serving directory to which `run` would release.
    """
    config = _configuration(given, dataset, {"--model": model, "--baseline": baseline})
    with logs.quiet(show=verbose):
        from components.evaluation.saved_model import ModelRefused
        from pipeline.model_check import Asked, check_model

        compared = Asked(baseline, baseline_signature) if baseline else None
        try:
            result = check_model(config, Asked(model, signature), compared)
        except ModelRefused as error:
            raise UsageError(str(error)) from error
    exit_code = ExitCode.DONE if result.passed else ExitCode.REFUSED
    return Reply(result.to_dict(), _lines(result), exit_code)


def _configuration(given: Given, dataset: str, models: Mapping[str, Path | None]) -> RunConfig:
    given.require_keys(["data_dir", "pipeline_root", "serving_dir", *keys("data"), *keys("gate")])
    parse_dataset(dataset)  # refused before TensorFlow is imported
    for flag, path in models.items():
        if path is not None and not paths.is_utf8(os.path.abspath(path)):
            raise UsageError(f"{flag} is {path}, expected text in UTF-8: TensorFlow takes no other")
    given.overrides.append(("dataset", dataset))
    return given.configuration()


def _lines(result: ModelCheck) -> Iterator[Line]:
    yield from summary.data(result.dataset)
    yield _subject("model", result.model)
    if result.baseline is not None:
        yield _subject("baseline", result.baseline)
    yield from summary.evaluation(result.evidence)
    yield from summary.check_lines(result.checks)
    yield Line("passed", "good") if result.passed else Line("refused", "bad")


def _subject(role: str, subject: Subject) -> Line:
    return Line(f"{role}: {subject.path}, {subject.signature} asked with {subject.takes}")
