"""Reads the outputs of a run's components into its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx.types.artifact import Artifact

from components import blessing, pusher
from components.example_gen import examples_summary
from pipeline.result import GATES, REFUSED, RELEASED, UNCHANGED, Release, RunResult
from trainer.hparams import HParams
from trainer.tuning import results
from trainer.tuning.results import tuned

Outputs = Mapping[str, Sequence[Artifact]]


def read(run: RunResult, name: str, outputs: Outputs, training: HParams) -> None:
    """Adds to the run what the outputs of a component say about it; most say nothing.

    `training` holds the configured hyper-parameters, some of which a search may replace.
    """
    if name == "ExampleGen":
        described = outputs["examples"][0].get_string_custom_property(examples_summary.PROPERTY)
        run.dataset["splits"] = {
            split: {"rows": found["rows"], "digest": found["digest"]}
            for split, found in json.loads(described)["splits"].items()
        }
    elif name in GATES:
        if name == next(iter(GATES)):
            run.checks = ()  # a run that begins again asks again
        _read_blessing(run, outputs[GATES[name]][0])
    elif name == "Tuner":
        folder = Path(outputs["tuner_results"][0].uri)
        run.tuning = results.read_results(folder)
        run.tuning_plot = str(folder / results.PLOT)
    elif name == "Trainer":
        run.hparams = tuned(training, run.tuning.best.values if run.tuning else {}).to_settings()
    elif name == "Pusher":
        _read_pushed(run, outputs["pushed_model"][0])


def _read_blessing(run: RunResult, given: Artifact) -> None:
    run.checks += blessing.checks_of(given)
    if facts := blessing.facts_of(given):
        run.evidence = blessing.ReleaseFacts.of(facts).evidence
    if not blessing.is_blessed(given):
        run.outcome = REFUSED


def _read_pushed(run: RunResult, pushed: Artifact) -> None:
    number, text = pushed.get_int_custom_property, pushed.get_string_custom_property
    if number(pusher.PUSHED):
        run.release = Release(number(pusher.VERSION), text(pusher.PATH))
        run.outcome = RELEASED if number(pusher.CREATED) else UNCHANGED
