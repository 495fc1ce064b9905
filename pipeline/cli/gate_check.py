"""`tfx-mnist gate check`: puts somebody's SavedModel before the release gate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.example_gen.errors import DataError
from components.example_gen.spec import parse_dataset
from components.gate.check import NotChecked
from components.gate.decision_log import DecisionLogError
from pipeline.cli import configuration, logs, output, summary
from pipeline.cli.command import Command, CommandError, Parser, UsageError, local_path
from pipeline.cli.output import Line
from pipeline.config import RunConfig, keys_of
from trainer import features
from trainer.host import paths

if TYPE_CHECKING:  # TensorFlow stands behind it
    from pipeline.model_check import ModelCheck, Subject

REFUSED = 3

_OPTIONS = ("--data-dir", "--pipeline-root", "--serving-dir", "--set", "--config")
_KEYS = ("data_dir", "pipeline_root", "serving_dir", *keys_of("gate"))


def _add_options(parser: Parser) -> None:
    add = parser.add_argument

    def signature(flag: str, text: str) -> None:
        default = features.SERVING_DEFAULT
        add(flag, metavar="NAME", default=default, help=f"{text} (default: {default})")

    add(
        "--model", metavar="DIR", type=local_path, required=True, help="the SavedModel to decide on"
    )
    signature("--signature", "the model's signature to ask")
    add(
        "--baseline",
        metavar="DIR",
        type=local_path,
        help="the SavedModel that it must not be worse than",
    )
    signature("--baseline-signature", "the baseline's signature to ask")
    add(
        "--dataset",
        metavar="D",
        required=True,
        help="whose test images are asked about: mnist_sample, a tensorflow-datasets name, or "
        "idx:DIR, as for run",
    )
    configuration.add_options(parser, only=_OPTIONS)
    add("-v", "--verbose", action="store_true", help="show the libraries' logs on stderr")


def _execute(options: argparse.Namespace) -> int:
    config = _configuration(options)
    with logs.quiet(show=options.verbose):
        result = _check(config, options)
    if options.json:
        output.say_json({**result.to_dict(), "error": None})
    else:
        colour = summary.wants_colour(sys.stdout, os.environ.get("NO_COLOR"))
        output.write(_lines(result), sys.stdout, colour=colour)
    return 0 if result.passed else REFUSED


def _configuration(options: argparse.Namespace) -> RunConfig:
    configuration.require_keys(options, _KEYS)
    try:
        parse_dataset(options.dataset)  # refused before TensorFlow is imported
    except DataError as error:
        raise UsageError(str(error)) from error
    for flag, path in (("--model", options.model), ("--baseline", options.baseline)):
        if path is not None and not paths.is_utf8(os.path.abspath(path)):
            raise UsageError(f"{flag} is {path}, expected text in UTF-8: TensorFlow takes no other")
    options.overrides = [*options.overrides, ("dataset", options.dataset)]
    return configuration.configuration(options)


def _check(config: RunConfig, options: argparse.Namespace) -> ModelCheck:
    from components.evaluation.saved_model import ModelRefused
    from pipeline.model_check import Asked, check_model

    model = Asked(Path(options.model), options.signature)
    baseline = None
    if options.baseline is not None:
        baseline = Asked(Path(options.baseline), options.baseline_signature)
    try:
        return check_model(config, model, baseline)
    except (DataError, ModelRefused) as error:
        raise UsageError(str(error)) from error
    except (DecisionLogError, NotChecked) as error:
        raise CommandError(str(error)) from error


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


COMMAND = Command(
    name="check",
    help="put any SavedModel before the release gate, without a run",
    description="Evaluates a SavedModel on all test images of a data set and decides on it as a "
    "run would, by\nthe same policy, compared with another SavedModel if one is given. Nothing is "
    "released.\n\n"
    "A signature takes any number of images as PNG bytes, or as pixels from 0 to 255 (uint8),\n"
    "and gives their probabilities. A decision uses the test set up a little: it is written\n"
    "down and counted in the serving directory that `run` would release to.",
    notes=f"keys of --set (a YAML file may hold those of a run):\n{configuration.keys('gate')}",
    add_options=_add_options,
    execute=_execute,
    exit_codes={
        0: "passed",
        1: "failed: the decision cannot be written down, the serving directory cannot be read, or "
        "there is no memory to ask a model; nothing was decided",
        2: "usage, data source refused, or a model that does not fit; nothing was decided",
        3: "refused by the gate",
    },
)
