"""What a run came to so far, read from what its components left.

Synopsis::

    state = State(dataset={"name": "mnist", "digest": "846f"})
    state.read("ReleaseGate", {"blessing": [artifact]})     # MLMD artifacts by output key
    state.outcome                                           # "refused", where its blessing says no
    state.result(run_id)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from components import blessing, pusher
from components.evaluation import release_gate
from components.example_gen import summary
from components.gate.check import Check
from components.gate.evidence import Evidence
from components.gate.policy import Policy
from components.tuner import results
from pipeline import history, result
from pipeline.runners.gates import GATES
from trainer.hparams import HParams
from trainer.tuning.trials import Results, tuned

Outputs = Mapping[str, Sequence[metadata_store_pb2.Artifact]]


@dataclasses.dataclass
class State:
    """What is known of a run so far; grows as components end."""

    checks: tuple[Check, ...] = ()
    dataset: dict[str, Any] = dataclasses.field(default_factory=dict)
    policy: Policy | None = None
    baseline: Mapping[str, Any] | None = None
    training: HParams | None = None  # as configured: what a search has found comes on top
    hparams: dict[str, Any] | None = None
    tuning: Results | None = None
    tuning_plot: str | None = None
    evidence: Evidence | None = None
    release: result.Release | None = None
    outcome: str = result.FAILED
    error: str | None = None
    bad_data: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    executed: set[str] = dataclasses.field(default_factory=set)

    @property
    def cached(self) -> tuple[str, ...]:
        """The components whose earlier result was taken over."""
        return tuple(name for name in self.seconds if name not in self.executed)

    def read(self, name: str, outputs: Outputs) -> None:
        """Takes over what the component of that name says, if it says something of the run."""
        if name == "ExampleGen":
            self._read_examples(outputs["examples"][0])
        elif name in GATES:
            if name == next(iter(GATES)):
                self.checks = ()  # a run that begins again asks again
            self._read_blessing(outputs[GATES[name]][0])
        elif name == "Tuner":
            self._read_trials(Path(outputs["tuner_results"][0].uri))
        elif name == "Trainer" and self.training is not None:
            found = self.tuning.best.values if self.tuning else {}
            self.hparams = tuned(self.training, found).to_config()
        elif name == "Pusher":
            self._read_pushed(outputs["pushed_model"][0])

    def refuse(self, checks: Sequence[Check]) -> None:
        """Ends the run as refused, by the checks of a component that raised `Refused`.

        Such a component has left no blessing to read them from.
        """
        self.outcome, self.checks = result.REFUSED, tuple(checks)

    def result(self, run_id: str) -> result.RunResult:
        """The result, but for the total time and the log."""
        return result.RunResult(
            run_id=run_id,
            outcome=self.outcome,
            dataset=self.dataset,
            policy=self.policy,
            baseline=self.baseline,
            hparams=self.hparams,
            tuning=self.tuning,
            tuning_plot=self.tuning_plot,
            evidence=self.evidence,
            checks=self.checks,
            release=self.release,
            seconds=self.seconds,
            cached=self.cached,
            error=self.error,
            bad_data=self.bad_data,
        )

    def _read_examples(self, examples: metadata_store_pb2.Artifact) -> None:
        recorded = json.loads(history.text(examples, summary.PROPERTY) or "{}")
        self.dataset["splits"] = {
            split: {"rows": facts["rows"], "digest": facts["digest"]}
            for split, facts in recorded["splits"].items()
        }

    def _read_trials(self, folder: Path) -> None:
        self.tuning = results.read_results(folder)
        self.tuning_plot = str(folder / results.PLOT)

    def _read_blessing(self, given: metadata_store_pb2.Artifact) -> None:
        """A no is the run's outcome, and ends it."""
        checks = json.loads(history.text(given, blessing.CHECKS) or "[]")
        self.checks += tuple(Check.from_dict(check) for check in checks)
        facts = json.loads(history.text(given, blessing.FACTS) or "{}")
        if release_gate.EVIDENCE in facts:
            self.evidence = Evidence.from_dict(facts[release_gate.EVIDENCE])
        if not history.number(given, blessing.BLESSED):
            self.outcome = result.REFUSED

    def _read_pushed(self, pushed: metadata_store_pb2.Artifact) -> None:
        if not history.number(pushed, pusher.PUSHED):
            return
        self.release = result.Release(
            version=history.number(pushed, pusher.VERSION) or 0,
            path=history.text(pushed, pusher.PATH) or "",
        )
        created = history.number(pushed, pusher.CREATED)
        self.outcome = result.RELEASED if created else result.UNCHANGED
