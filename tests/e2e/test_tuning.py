"""A search for hyper-parameters, as a user starts it, killed, and continued by two processes."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.pipeline.thirds import write_thirds

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

QUICK = [*runs.SMALL, "--set", "training.epochs=1", "--set", "gate.confidence=0.999999"]
TUNE = ["--tune", "--set", "tuning.max_trials=3"]


def test_a_killed_search_goes_on_in_two_processes_and_what_it_found_is_saved(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, saved = tmp_path / "root", tmp_path / "best.json"
    quick = ["--dataset", write_thirds(tmp_path / "thirds"), *QUICK]

    def trial_finished() -> list[Path]:
        return list(root.glob("tuning/*/finished/*.json"))

    killed = runs.stop_when(trial_finished, signal.SIGKILL, root, *quick, *TUNE)
    assert killed == -signal.SIGKILL

    # Killed before keras-tuner had noted it too, the first trial is handed out again; but it was
    # finished, so it is not trained again.
    trained_in = {json.loads(path.read_text())["seconds"] for path in trial_finished()}
    assert len(trained_in) in (1, 2)

    two = ("--set", "tuning.parallel_trials=2")
    code, result = runs.run_here(capfd, root, *quick, *TUNE, *two, "--save-hparams", str(saved))
    assert code == 0, result
    log = (root / "logs" / f"{result['run_id']}.log").read_text()
    assert log.count("waiting for keras-tuner's chief") == 2
    trials = result["tuning"]["trials"]
    assert [(trial["number"], trial["status"]) for trial in trials] == [
        (number, "completed") for number in (1, 2, 3)
    ]
    assert trained_in <= {trial["seconds"] for trial in trials}
    assert not (root / "tuning").exists()
    assert Path(result["tuning"]["plot"]).is_file()

    best = trials[result["tuning"]["best"] - 1]["values"]
    assert json.loads(saved.read_text()) == result["hparams"]
    assert best.items() <= result["hparams"].items()
