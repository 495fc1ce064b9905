"""Reads the outputs of a run's components into its result."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx.types.artifact import Artifact

from components import blessing, pictures, pusher, serving_dir
from components.example_gen import examples_summary
from pipeline.executions import is_of_run
from pipeline.result import (
    FAILED,
    GATES,
    HELD,
    REFUSED,
    RELEASED,
    UNCHANGED,
    Release,
    RunResult,
    Waiting,
)
from trainer import history
from trainer.hparams import HParams
from trainer.tuning import results
from trainer.tuning.results import tuned

Outputs = Mapping[str, Sequence[Artifact]]


def read(result: RunResult, name: str, outputs: Outputs, training: HParams) -> None:
    """Adds to the result what the outputs of a component say about it; most say nothing.

    `training` holds the configured hyper-parameters, some of which a search may replace.
    """
    if name == "ExampleGen":
        summary = examples_summary.read(outputs["examples"][0])
        result.dataset["splits"] = {
            split: {"rows": found.rows, "digest": found.digest}
            for split, found in summary.splits.items()
        }
        result.dataset |= {"skipped": summary.skipped, "ignored": summary.ignored}
    elif name in GATES:
        given = outputs[GATES[name]][0]
        _read_blessing(result, given)
        shown = pictures.read(Path(given.uri))
        if name == "DataGate":
            result.suspects = shown
        elif name == "ReleaseGate":
            result.mistakes = shown
    elif name == "Tuner":
        folder = Path(outputs["tuner_results"][0].uri)
        result.tuning = results.read_results(folder)
        result.tuning_plot = str(folder / results.PLOT)
    elif name == "Trainer":
        found = result.tuning.best.values if result.tuning else {}
        result.hparams = tuned(training, found).to_settings()
        for trained in outputs.get("model_run", ()):
            folder = Path(trained.uri)
            result.history, result.tensorboard = history.read(folder), str(folder.parent)
    elif name == "Pusher":
        _read_pushed(result, outputs["pushed_model"][0])


def find_what_stays(result: RunResult) -> None:
    """Adds to a failed result the version that its run released, or the model that it held.

    Either stays, also if an error or a signal came before the Pusher could report it.
    """
    if result.outcome != FAILED or result.serving_dir is None:
        return
    served = Path(result.serving_dir)
    result.release = _release_by(result.run_id, served)
    result.pending = None if result.release else _held_by(result.run_id, served)
    if stays := result.release or result.pending:
        result.outcome = RELEASED if result.release else HELD
        if result.error is not None:
            result.error = f"{stays.said}: {result.error}"


def _release_by(run_id: str, served: Path) -> Release | None:
    with contextlib.suppress(serving_dir.ServingDirError):
        for version in reversed(serving_dir.versions(served)):
            if is_of_run(version.release.get("run_id"), run_id):
                return Release(version.number, str(version.path))
    return None


def _held_by(run_id: str, served: Path) -> Waiting | None:
    with contextlib.suppress(serving_dir.ServingDirError):
        for held in serving_dir.pending(served):
            if is_of_run(held.run_id, run_id):
                return Waiting(held.run_id, str(held.path))
    return None


def _read_blessing(result: RunResult, given: Artifact) -> None:
    result.checks += blessing.checks_of(given)
    if facts := blessing.facts_of(given):
        result.evidence = facts.evidence
    if not blessing.is_blessed(given):
        result.outcome = REFUSED


def _read_pushed(result: RunResult, pushed: Artifact) -> None:
    number, text = pushed.get_int_custom_property, pushed.get_string_custom_property
    if number(pusher.PUSHED):
        result.release = Release(number(pusher.VERSION), text(pusher.PATH))
        result.outcome = RELEASED if number(pusher.CREATED) else UNCHANGED
    elif held := text(pusher.HELD):
        result.pending, result.outcome = Waiting(held, text(pusher.PATH)), HELD
