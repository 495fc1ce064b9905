"""The results of a run, and of the gate without a run, which `--json` prints."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.gate.check import Check, passed
from components.gate.evidence import Evidence
from components.gate.policy import Policy
from trainer.host import termination
from trainer.tuning.results import Results

if TYPE_CHECKING:  # pydantic, NumPy and Pillow stand behind it
    from components.pictures import Pictures

RELEASED = "released"  # a new version is served
HELD = "held"  # every check passed, and the model waits for `tfx-mnist approve`
UNCHANGED = "unchanged"  # the model is the newest version already
REFUSED = "refused"  # a gate refused the data or the model; what was served stays
FAILED = "failed"  # something broke; what was served stays

GATE_CHECK = "gate check"  # in the decision log, where a run has its id


class ExitCode(enum.IntEnum):
    """What the program's exit codes mean; the help of each command says what it means by them."""

    DONE = 0
    FAILED = 1  # something broke or is damaged, or another run holds the pipeline root
    USAGE = 2  # usage, configuration or data source refused; no example and no version was written
    REFUSED = 3  # by a gate, or overtaken by another release
    INTERRUPTED = termination.INTERRUPTED
    TERMINATED = termination.TERMINATED


def left_out(dataset: Mapping[str, Any]) -> str:
    """Says what the data source holds that no split does: unreadable images, as
    `data.skip_unreadable` allows, and files that are hidden or no images; "" for nothing.
    """
    skipped, ignored = dataset.get("skipped", 0), dataset.get("ignored", 0)
    kinds = (
        (skipped, "image that cannot be read", "images that cannot be read"),
        (
            ignored,
            "file that is hidden or of another format",
            "files that are hidden or of other formats",
        ),
    )
    return ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in kinds if n)


def overrides(made: Mapping[str, Any]) -> str:
    """Returns which keys were overridden and why, of a release record or a run."""
    return f"overrides {', '.join(made['keys'])}: {' '.join(made['reason'].split())}"


@dataclasses.dataclass(frozen=True)
class Release:
    """The version that holds this run's model."""

    version: int
    path: str

    @property
    def said(self) -> str:
        """The words that name it in the line of a run that a signal or an error ended later."""
        return f"after version {self.version} was released in {self.path}"


@dataclasses.dataclass(frozen=True)
class Waiting:
    """The run whose held model is this run's, and the directory where it waits."""

    run_id: str
    path: str

    @property
    def serving_dir(self) -> str:
        """The directory that `approve` and `reject` need."""
        return str(Path(self.path).parent)

    @property
    def said(self) -> str:
        """As `Release.said`."""
        return f"after the model was held in {self.path}"


# The components that are gates, in the order in which a run meets them, with the output that says
# yes or no. The Evaluator's blessing is not final: ReleaseGate decides.
GATES: Mapping[str, str] = {
    "DataGate": "blessing",
    "ReleaseGate": "blessing",
    "ServingCheck": "infra_blessing",
}


_DECISIONS = {RELEASED: "passed", HELD: "passed", UNCHANGED: "passed", REFUSED: "refused"}


@dataclasses.dataclass
class RunResult:
    """The result of a run, filled in while it goes on; None where there is nothing, or nothing yet.

    Attributes:
      outcome: one of the constants above.
      dataset: name, digest (fingerprint of the source) and, once read, the splits with rows, and
        how many images and files were left out, see `left_out`.
      network: why the preset trains another network than its own, or "".
      baseline: version and model digest, as in the release record.
      serving_dir: the directory in which the baseline was looked for, once it was.
      tuning_plot: the path of a picture of the trials.
      evidence: counts on the test split.
      history: the epochs of the training, see `trainer.history`.
      tensorboard: the directory of TensorBoard's events of all trainings on this data set.
      suspects: examples that the data gate shows: likely label errors, and what it refused.
      mistakes: examples of `test`, and the calibration.
      checks: those of all gates, the data gate first.
      overrides: the keys that weaken the policy, and the reason, as in the release record.
      seconds: wall time of each component, in order.
      cached: names of the components whose earlier result was taken over.
      total_seconds: wall time of the run, imports included.
      error: one line, if the run failed, which it may have done after the release.
      bad_data: whether the run failed because the data source was refused.
    """

    run_id: str
    outcome: str = FAILED
    dataset: dict[str, Any] = dataclasses.field(default_factory=dict)
    policy: Policy | None = None
    network: str = ""
    baseline: Mapping[str, Any] | None = None
    serving_dir: str | None = None
    hparams: dict[str, Any] | None = None
    tuning: Results | None = None
    tuning_plot: str | None = None
    evidence: Evidence | None = None
    history: tuple[Mapping[str, float], ...] = ()
    tensorboard: str | None = None
    suspects: Pictures | None = None
    mistakes: Pictures | None = None
    checks: tuple[Check, ...] = ()
    overrides: Mapping[str, Any] | None = None
    release: Release | None = None
    pending: Waiting | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    cached: tuple[str, ...] = ()
    total_seconds: float = 0.0
    error: str | None = None
    bad_data: bool = False
    log_file: str | None = None
    report: str | None = None

    @property
    def failed(self) -> bool:
        """Whether something broke; a release that was made before is the outcome all the same."""
        return self.outcome == FAILED or (self.outcome != REFUSED and self.error is not None)

    @property
    def exit_code(self) -> ExitCode:
        if self.failed:
            return ExitCode.USAGE if self.bad_data else ExitCode.FAILED
        return ExitCode.REFUSED if self.outcome == REFUSED else ExitCode.DONE

    def to_dict(self) -> dict[str, Any]:
        """Returns the object whose keys docs/cli.md promises, see `json_able`."""
        gate = {
            "decision": _DECISIONS.get(self.outcome),
            "checks": [check.to_dict() for check in self.checks],
            "overrides": self.overrides,
        }
        return {
            "run_id": self.run_id,
            "outcome": self.outcome,
            "dataset": self.dataset or None,
            "hparams": self.hparams,
            "tuning": self.tuning and {**self.tuning.to_dict(), "plot": self.tuning_plot},
            "metrics": self.evidence and self.evidence.metrics,
            "gate": gate,
            "baseline": self.baseline,
            "serving_dir": self.serving_dir,
            "release": self.release and dataclasses.asdict(self.release),
            "pending": self.pending and dataclasses.asdict(self.pending),
            "seconds": {
                "total": round(self.total_seconds, 3),
                **{name: round(value, 3) for name, value in self.seconds.items()},
            },
            "cached": list(self.cached),
            "report": self.report,
            "tensorboard": self.tensorboard,
            "error": self.error,
        }


@dataclasses.dataclass(frozen=True)
class JudgedModel:
    """What was put before the gate.

    Attributes:
      path: of a SavedModel, or of a file of predictions.
      signature: the one that was asked; None for predictions.
      takes: the input of a model, such as "image files"; None for predictions.
    """

    path: str
    digest: str
    signature: str | None = None
    takes: str | None = None


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The gate's decision on `model`.

    Attributes:
      dataset: name, digest of the source (both None where the gate knows none), and rows and digest
        of the test split.
      log: the file in which the decision was written down.
      left_out: the checks that could not be made, each with its reason.
    """

    dataset: Mapping[str, Any]
    model: JudgedModel
    baseline: JudgedModel | None
    evidence: Evidence
    checks: tuple[Check, ...]
    log: str
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return passed(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Returns the object that docs/gate-check.md describes, see `json_able`."""
        return {
            "decision": "passed" if self.passed else "refused",
            "checks": [check.to_dict() for check in self.checks],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out],
            "metrics": self.evidence.metrics,
            "dataset": self.dataset,
            "model": dataclasses.asdict(self.model),
            "baseline": self.baseline and dataclasses.asdict(self.baseline),
            "log": self.log,
        }


def json_able(value: Any) -> Any:
    """Returns a value that all readers of JSON take: None for NaN and infinity, and text as UTF-8.

    A byte of a file name that is no text (half a surrogate pair, PEP 383) becomes its escape.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {json_able(str(key)): json_able(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_able(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
