"""`tfx-mnist gate check`: puts any SavedModel, or predictions of any tool, before the gate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from components.example_gen.sources import parse_dataset
from pipeline.cli import configuration, logs, summary, written_files
from pipeline.cli.command import Reply, UsageError, command, option, path_option, verbose
from pipeline.cli.configuration import Given, pass_given
from pipeline.cli.option_types import Read
from pipeline.cli.output import Line
from pipeline.cli.written_files import CiFiles
from pipeline.config_model import keys
from pipeline.result import ExitCode, GateResult, JudgedModel
from trainer import features
from trainer.host import paths

# The options that mean nothing with the other kind of subject.
_OF_MODELS = ("--signature", "--baseline", "--baseline-signature")
_OF_PREDICTIONS = ("--baseline-predictions", "--slice")
_TWINS = ("--baseline", "--baseline-predictions")  # of one kind and of the other


def _cut(text: str) -> Any:
    from components.evaluation.pairing import Cut  # NumPy stands behind it

    try:
        return Cut.parse(text)
    except ValueError:
        expected = (
            "a column, one of numbers with rising finite edges, such as age:30,60, or one with "
            "different values, such as camera=front,rear"
        )
        raise ValueError(expected) from None


@command(
    done="passed",
    failed="the decision cannot be written down, the serving directory cannot be read, or memory "
    "does not suffice to ask a model; nothing was decided",
    usage="usage, a data source or file refused, or a model that does not fit; nothing was decided",
    refused="refused by the gate",
)
@path_option("--model", "DIR", "The SavedModel to decide on.")
@option("--signature", "NAME", f"The model's signature to ask ({features.SERVING_DEFAULT}).")
@path_option("--baseline", "DIR", "The SavedModel that it must not be worse than.")
@option(
    "--baseline-signature",
    "NAME",
    f"The baseline's signature to ask ({features.SERVING_DEFAULT}).",
)
@path_option("--predictions", "FILE", "Predictions to decide on: CSV, Parquet or NPZ.")
@path_option("--baseline-predictions", "FILE", "Predictions that they must not be worse than.")
@option(
    "--slice",
    "COLUMN[:EDGE,...|=VALUE,...]",
    "A further column of the predictions, whose values or bands are held to the class floor; may "
    "be given again.",
    type=Read(_cut),
    multiple=True,
)
@option(
    "--dataset",
    "D",
    "The data set of the test images. With --predictions only the thresholds of this name are "
    "taken, if given.",
    cls=configuration.DatasetOption,
)
@configuration.options("--data-dir", "--pipeline-root", "--serving-dir", "--config")
@configuration.set_option("gate", "data")
@written_files.options("gate check")
@verbose
@pass_given
def check(given: Given, /, *, ci_files: CiFiles, verbose: bool, **values: Any) -> Reply:
    """Decides on any SavedModel, or on predictions of any tool.

    Asks a SavedModel about all test images of a data set, or reads the predictions from a file.
    Compares with a baseline if one is given, and decides by the policy of a run. Nothing is
    released. --set takes the keys gate.*, with --model also data.*; a configuration file may hold
    all keys of a run.

    The signature of a model takes any number of images, as files or as pixels from 0 to 255
    (uint8), and gives probabilities. A file of predictions has the columns id, label, and p_CLASS
    or logit_CLASS for each class, or predicted. Each decision uses the test set up a little, so it
    is recorded and counted in the serving directory to which `run` would release.
    """
    asked = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    used = ["pipeline_root", "serving_dir", *keys("gate")]
    if _of_a_file(asked):
        given.require_keys(used)
        from pipeline.predictions_check import check_predictions  # NumPy stands behind it

        result = check_predictions(
            given.configuration(),
            values["predictions"],
            values["baseline_predictions"],
            dataset=values["dataset"],
            cuts=values["slice"],
        )
    else:
        given.require_keys(["data_dir", *used, *keys("data")])
        result = _check_model(given, values, verbose=verbose)
    ci_files.write(result.checks, left_out=result.left_out)
    exit_code = ExitCode.DONE if result.passed else ExitCode.REFUSED
    return Reply(result.to_dict(), _lines(result), exit_code)


def _of_a_file(asked: Mapping[str, Any]) -> bool:
    """Whether predictions were given and no model; raises UsageError for a mixture of both."""
    named = [flag for flag in ("--model", "--predictions") if asked[flag] is not None]
    if len(named) != 1:
        found = (
            "--model and --predictions are given"
            if named
            else "--model is missing, and so is --predictions"
        )
        raise UsageError(f"{found}, expected one of them; see tfx-mnist gate check --help")
    (subject,) = named
    for flag in _OF_MODELS if subject == "--predictions" else _OF_PREDICTIONS:
        if asked[flag]:
            remedy = f"give {_TWINS[flag == _TWINS[0]]}" if flag in _TWINS else "leave it out"
            raise UsageError(f"{flag} has no effect with {subject}: {remedy}")
    return subject == "--predictions"


def _check_model(given: Given, values: Mapping[str, Any], *, verbose: bool) -> GateResult:
    dataset = values["dataset"] or given.chosen()[1].get("dataset")
    if dataset is None:
        raise UsageError("--dataset is missing; see tfx-mnist gate check --help")
    parse_dataset(dataset)  # refused before TensorFlow is imported
    model, baseline = values["model"], values["baseline"]
    for flag, path in (("--model", model), ("--baseline", baseline)):
        if path is not None and not paths.is_utf8(os.path.abspath(path)):
            raise UsageError(f"{flag} is {path}, expected text in UTF-8: TensorFlow takes no other")
    given.overrides.append(("dataset", dataset))
    config = given.configuration()
    with logs.quiet(show=verbose):
        from pipeline.model_check import Asked, check_model

        asked = Asked(model, values["signature"] or features.SERVING_DEFAULT)
        compared = None
        if baseline is not None:
            compared = Asked(baseline, values["baseline_signature"] or features.SERVING_DEFAULT)
        return check_model(config, asked, compared)


def _lines(result: GateResult) -> Iterator[str | Line]:
    if result.dataset["digest"] is not None:
        yield from summary.data(result.dataset)
    yield _subject("model", result.model)
    if result.baseline is not None:
        yield _subject("baseline", result.baseline)
    else:
        yield "baseline: none was given"
    yield from summary.evaluation(result.evidence)
    yield from summary.check_lines(result.checks)
    for reason in dict.fromkeys(reason for _, reason in result.left_out):
        names = ", ".join(name for name, why in result.left_out if why == reason)
        yield f"  left out: {names}: {reason}"
    yield f"written down: {result.log}"
    yield Line("passed", "good") if result.passed else Line("refused", "bad")


def _subject(role: str, subject: JudgedModel) -> str:
    asked = f", {subject.signature} asked with {subject.takes}" if subject.signature else ""
    return f"{role}: {subject.path}{asked}"
