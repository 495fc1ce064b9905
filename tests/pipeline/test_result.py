import dataclasses
import json

import pytest

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from pipeline.result import (
    FAILED,
    REFUSED,
    RELEASED,
    UNCHANGED,
    ExitCode,
    Release,
    RunResult,
    json_able,
)
from trainer.tuning.results import COMPLETED, Results, Trial

EVIDENCE = Evidence(
    overall=Tally(rows=4, correct=3),
    classes={"0": Tally(rows=2, correct=1), "1": Tally(rows=2, correct=2)},
    slices={},
    cross_entropy=0.5,
    top_2_accuracy=1.0,
)
TRIAL = Trial(1, COMPLETED, {"dropout": 0.1}, 2, eval_accuracy=0.9, eval_loss=0.3, seconds=1.5)


def test_a_released_run_fills_every_key() -> None:
    result = RunResult(
        run_id="r",
        outcome=RELEASED,
        dataset={"name": "mnist", "digest": "ab", "splits": {"test": 4}},
        hparams={"epochs": 3},
        tuning=Results("accuracy", (TRIAL,)),
        tuning_plot="trials.png",
        baseline={"version": 2, "model_digest": "e"},
        serving_dir="serving",
        evidence=EVIDENCE,
        checks=(Check("accuracy", True, 0.75, 0.5, "fine"),),
        release=Release(3, "serving/3"),
        seconds={"Trainer": 1.23456},
        cached=("Transform",),
        total_seconds=2.0,
        log_file="x.log",
        tensorboard="model_run",
        report="r.html",
    )
    assert result.to_dict() == {
        "run_id": "r",
        "outcome": "released",
        "dataset": {"name": "mnist", "digest": "ab", "splits": {"test": 4}},
        "hparams": {"epochs": 3},
        "tuning": {
            "objective": "accuracy",
            "best": 1,
            "trials": [dataclasses.asdict(TRIAL)],
            "plot": "trials.png",
        },
        "metrics": {
            "accuracy": 0.75,
            "top_2_accuracy": 1.0,
            "cross_entropy": 0.5,
            "by_class": {"0": 0.5, "1": 1.0},
        },
        "gate": {
            "decision": "passed",
            "checks": [
                {
                    "name": "accuracy",
                    "passed": True,
                    "actual": 0.75,
                    "required": 0.5,
                    "sentence": "fine",
                }
            ],
            "overrides": None,
        },
        "baseline": {"version": 2, "model_digest": "e"},
        "serving_dir": "serving",
        "release": {"version": 3, "path": "serving/3"},
        "pending": None,
        "seconds": {"total": 2.0, "Trainer": 1.235},
        "cached": ["Transform"],
        "report": "r.html",
        "tensorboard": "model_run",
        "error": None,
    }


def test_a_run_that_failed_early_has_nulls_and_the_same_keys() -> None:
    fields = RunResult(run_id="r", outcome=FAILED, error="it broke").to_dict()
    assert fields.keys() == RunResult(run_id="r", outcome=RELEASED).to_dict().keys()
    assert (fields["metrics"], fields["dataset"], fields["release"]) == (None, None, None)
    assert fields["error"] == "it broke"


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [(RELEASED, "passed"), (UNCHANGED, "passed"), (REFUSED, "refused"), (FAILED, None)],
)
def test_the_gates_decision_follows_the_outcome(outcome: str, decision: str | None) -> None:
    assert RunResult(run_id="r", outcome=outcome).to_dict()["gate"]["decision"] == decision


def test_an_error_after_the_release_leaves_the_outcome_and_is_a_failure() -> None:
    late = RunResult("r", RELEASED, release=Release(3, "serving/3"), error="too late")
    assert (late.exit_code, late.to_dict()["outcome"]) == (ExitCode.FAILED, "released")


def test_nan_and_infinity_become_null_because_json_knows_neither() -> None:
    checks = (Check("accuracy", False, float("nan"), 0.9, "accuracy is nan"),)
    seconds = {"Trainer": float("inf")}
    result = RunResult(run_id="r", outcome=REFUSED, checks=checks, seconds=seconds)
    text = json.dumps(json_able(result.to_dict()), allow_nan=False)
    assert json.loads(text)["gate"]["checks"][0]["actual"] is None
    assert json.loads(text)["seconds"]["Trainer"] is None
