"""Reads the outputs of a run's components into its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.proto.metadata_store_pb2 import Artifact

from components import blessing, pusher
from components.example_gen import examples_summary
from components.gate.check import Check
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
        facts = json.loads(_text(outputs["examples"][0], examples_summary.PROPERTY) or "{}")
        run.dataset["splits"] = {
            split: {"rows": found["rows"], "digest": found["digest"]}
            for split, found in facts["splits"].items()
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
        run.hparams = tuned(training, run.tuning.best.values if run.tuning else {}).to_config()
    elif name == "Pusher":
        _read_pushed(run, outputs["pushed_model"][0])


def _read_blessing(run: RunResult, given: Artifact) -> None:
    checks = json.loads(_text(given, blessing.CHECKS) or "[]")
    run.checks += tuple(Check.from_dict(check) for check in checks)
    facts = json.loads(_text(given, blessing.FACTS) or "{}")
    if facts:
        run.evidence = blessing.ReleaseFacts.of(facts).evidence
    if not _number(given, blessing.BLESSED):
        run.outcome = REFUSED


def _read_pushed(run: RunResult, pushed: Artifact) -> None:
    if _number(pushed, pusher.PUSHED):
        run.release = Release(_number(pushed, pusher.VERSION), _text(pushed, pusher.PATH))
        run.outcome = RELEASED if _number(pushed, pusher.CREATED) else UNCHANGED


def _text(artifact: Artifact, name: str) -> str:
    return str(artifact.custom_properties[name].string_value)


def _number(artifact: Artifact, name: str) -> int:
    return int(artifact.custom_properties[name].int_value)
