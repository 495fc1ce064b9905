from pathlib import Path

from pipeline.result import FAILED, HELD, RunResult
from pipeline.runners import outcome
from tests.components.serving_dir.samples import hold_letter


def test_a_failed_run_says_what_it_held_itself_and_not_what_another_run_did(tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    path = hold_letter(serving, "a", "run-1-again").path
    said = {}
    for run_id in ("run-1", "run-2"):
        result = RunResult(run_id, serving_dir=str(serving), error="no space")
        outcome.find_what_stays(result)
        said[run_id] = (result.outcome, result.error)
    assert said == {
        "run-1": (HELD, f"after the model was held in {path}: no space"),
        "run-2": (FAILED, "no space"),
    }
