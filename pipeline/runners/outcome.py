"""Reads the outputs of a run's components into its result."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

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

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")


def read(run: RunResult, name: str, outputs: Outputs, training: HParams) -> None:
    """Adds to the run what the outputs of a component say about it; most say nothing.

    `training` holds the configured hyper-parameters, some of which a search may replace.
    """
    if name == "ExampleGen":
        summary = examples_summary.read(outputs["examples"][0])
        run.dataset["splits"] = {
            split: {"rows": found.rows, "digest": found.digest}
            for split, found in summary.splits.items()
        }
        run.dataset |= {"skipped": summary.skipped, "ignored": summary.ignored}
    elif name in GATES:
        given = outputs[GATES[name]][0]
        _read_blessing(run, given)
        shown = _for_the_report(pictures.read, given)
        if name == "DataGate":
            run.suspects = shown
        elif name == "ReleaseGate":
            run.mistakes = shown
    elif name == "Tuner":
        folder = Path(outputs["tuner_results"][0].uri)
        run.tuning = results.read_results(folder)
        run.tuning_plot = str(folder / results.PLOT)
    elif name == "Trainer":
        run.hparams = tuned(training, run.tuning.best.values if run.tuning else {}).to_settings()
        for trained in outputs.get("model_run", ()):
            run.history = _for_the_report(history.read, trained) or ()
            run.tensorboard = str(Path(trained.uri).parent)
    elif name == "Pusher":
        _read_pushed(run, outputs["pushed_model"][0])


def find_what_stays(run: RunResult) -> None:
    """Adds to a failed run the version that it released, or the model that it held, if any.

    Either stays, also if an error or a signal came before the Pusher could report it.
    """
    if run.outcome != FAILED or run.serving_dir is None:
        return
    served = Path(run.serving_dir)
    run.release = _release_by(run.run_id, served)
    run.pending = None if run.release else _held_by(run.run_id, served)
    if stays := run.release or run.pending:
        run.outcome = RELEASED if run.release else HELD
        if run.error is not None:
            run.error = f"{stays.said}: {run.error}"


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


def _for_the_report(read_from: Callable[[Path], _Read], artifact: Artifact) -> _Read | None:
    """Reads what people look at; None, with a line in the log, where it cannot be read."""
    try:
        return read_from(Path(artifact.uri))
    except (OSError, ValueError) as error:
        _log.warning("the report will lack what lies in %s: %s", artifact.uri, error)
        return None


def _read_blessing(run: RunResult, given: Artifact) -> None:
    run.checks += blessing.checks_of(given)
    if facts := blessing.facts_of(given):
        run.evidence = facts.evidence
    if not blessing.is_blessed(given):
        run.outcome = REFUSED


def _read_pushed(run: RunResult, pushed: Artifact) -> None:
    number, text = pushed.get_int_custom_property, pushed.get_string_custom_property
    if number(pusher.PUSHED):
        run.release = Release(number(pusher.VERSION), text(pusher.PATH))
        run.outcome = RELEASED if number(pusher.CREATED) else UNCHANGED
    elif held := text(pusher.HELD):
        run.pending, run.outcome = Waiting(held, text(pusher.PATH)), HELD
