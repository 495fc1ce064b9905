"""A search for hyper-parameters, as a user starts it, killed in between."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.pipeline.thirds import write_thirds

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

QUICK = [*runs.SMALL, "--set", "training.epochs=1", "--set", "gate.confidence=0.999999"]
TUNE = ["--tune", "--set", "tuning.max_trials=3"]


def run(capfd: pytest.CaptureFixture[str], root: Path, *words: str) -> dict:
    """What a run that ended well came to."""
    code, result = runs.run_here(capfd, root, *words)
    assert code == 0, result
    return result


def test_a_killed_search_goes_on_and_what_it_found_serves_another_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, saved = tmp_path / "root", tmp_path / "best.json"
    quick = ["--dataset", write_thirds(tmp_path / "thirds"), *QUICK]

    def trial_finished() -> list[Path]:
        return list(root.glob("tuning/*/finished/*.json"))

    runs.stop_when(trial_finished, signal.SIGKILL, root, *quick, *TUNE)

    result = run(capfd, root, *quick, *TUNE, "--save-hparams", str(saved))
    assert [trial["number"] for trial in result["tuning"]["trials"]] == [1, 2, 3]
    log = (root / "logs" / f"{result['run_id']}.log").read_text()
    # Killed before keras-tuner had noted it too, the first trial is handed out again; but it was
    # finished, so nothing is trained before the second one.
    before, second, _ = log.partition("trial 2:")
    assert second
    assert "epoch 1/" not in before
    assert not (root / "tuning").exists()
    assert Path(result["tuning"]["plot"]).is_file()

    best = result["tuning"]["trials"][result["tuning"]["best"] - 1]["values"]
    assert json.loads(saved.read_text()) == result["hparams"]
    assert best.items() <= result["hparams"].items()

    other = run(capfd, root, *quick, "--hparams", str(saved))
    assert other["tuning"] is None
    assert other["hparams"] == result["hparams"]
