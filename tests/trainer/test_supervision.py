"""How often a lost training is started again; `test_workers` has real machines."""

import dataclasses
import json
import threading
from pathlib import Path

import pytest

from trainer import supervision, training_process
from trainer.job import Job
from trainer.progress import Progress

# In place of the process that trains: its second attempt ends an epoch, and each ends too early.
PROCESS = """
import sys
with open({attempts!r}, "a+") as attempts:
    attempts.write("attempt\\n")
    attempts.seek(0)
    number = len(attempts.readlines())
sys.stdin.readline()
if number == 2:
    print({said!r})
sys.exit(3)
"""


def test_attempts_are_counted_from_the_last_one_that_ended_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, have_joined = supervision._attempt, []

    def noted(file: Path, joined: threading.Event, end: float) -> tuple[int, bool]:
        found = attempt(file, joined, end)
        have_joined.append(joined.is_set())
        return found

    monkeypatch.setattr(supervision, "_attempt", noted)
    epoch = Progress(4, 16, 1, 4, seconds_left=9.0, eval_accuracy=0.5, epoch_ended=True)
    said = json.dumps({"progress": dataclasses.asdict(epoch)})
    attempts = tmp_path / "attempts"
    stand_in = PROCESS.format(attempts=str(attempts), said=said)
    (tmp_path / "process_that_is_lost.py").write_text(stand_in)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(training_process, "_MODULE", "process_that_is_lost")
    monkeypatch.setattr(supervision, "ATTEMPTS", 3)
    monkeypatch.setattr(supervision, "PAUSE_S", 0.01)
    job = tmp_path / "training-job.json"
    Job([], [], "", {"replicas": 1}).write(job)
    with pytest.raises(
        supervision.TrainingFailed, match="3 attempts in a row ended without a finished epoch"
    ):
        supervision.train(job)
    assert len(attempts.read_text().splitlines()) == 2 + 3
    # Machines that train are not given up after the hour that they have to find each other.
    assert have_joined == [False, True, False, False, False]
