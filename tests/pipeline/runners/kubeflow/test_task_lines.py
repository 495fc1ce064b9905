"""What a container says, and that the machine which runs it reads the same."""

import io
import logging
from pathlib import Path

import pytest

from components.gate.check import Check
from pipeline.runners.kubeflow.task_lines import COMPLETED, TaskLine, TaskLog
from trainer import progress
from trainer.progress import Progress


def _said(text: str) -> TaskLine | None:
    stream = io.StringIO()
    TaskLog("Trainer", stream).say(text)
    return TaskLine.parse(f"    {stream.getvalue()}")  # kfp's local runner indents it


def test_what_is_said_is_read_again() -> None:
    assert _said(COMPLETED) == TaskLine("Trainer", COMPLETED)


def test_local_runner_indents_the_end_of_a_line_that_comes_by_itself() -> None:
    assert TaskLine.parse("    tfx-mnist: Plan: completed    \n") == TaskLine("Plan", COMPLETED)


def test_a_line_is_there_at_once(tmp_path: Path) -> None:
    with (tmp_path / "stdout").open("w") as stream:
        TaskLog("Plan", stream).say(COMPLETED)
        assert (tmp_path / "stdout").read_text() == "tfx-mnist: Plan: completed\n"


def test_a_line_is_one_piece_with_its_end() -> None:
    pieces: list[str] = []
    stream = io.StringIO()
    stream.write = pieces.append
    TaskLog("Plan", stream).say(COMPLETED)
    assert pieces == ["tfx-mnist: Plan: completed\n"]


@pytest.mark.parametrize("text", ["progress report: done", 'progress {"a": 1}', "checks passed"])
def test_a_line_that_only_looks_like_ours_says_nothing(text: str) -> None:
    line = TaskLine.parse(f"tfx-mnist: Pusher: {text}\n")
    assert (line.progress, line.checks, line.failure) == (None, None, None)


@pytest.mark.parametrize("printed", ["epoch 1\n", "W tfx-mnist: Trainer: x\n", "", "tfx-mnist:\n"])
def test_what_a_library_prints_is_none_of_it(printed: str) -> None:
    assert TaskLine.parse(printed) is None


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("refused by ReleaseGate: accuracy is 0.9", (3, "accuracy is 0.9")),
        ("refused: version 3 is damaged", (3, "version 3 is damaged")),
        ("invalid: no such data set", (2, "no such data set")),
        ("failed: OSError: disk full: 3", (1, "OSError: disk full: 3")),
        ("terminated: SIGTERM arrived", (143, "SIGTERM arrived")),
        ("completed", None),
        ("progress {}", None),
    ],
)
def test_the_last_line_says_how_it_ended(text: str, failure: tuple[int, str] | None) -> None:
    line = _said(text)
    assert line is not None
    assert line.failure == failure


def test_the_checks_of_a_no_are_a_line_of_their_own() -> None:
    checks = (Check("baseline", False, "no manifest", None, "what is served cannot be read"),)
    stream = io.StringIO()
    TaskLog("Plan", stream).say_checks(checks)
    line = TaskLine.parse(stream.getvalue())
    assert (line.task, line.checks, line.failure) == ("Plan", checks, None)
    assert TaskLine("Plan", COMPLETED).checks is None


def test_an_epoch_that_ends_is_a_line_and_a_batch_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=progress.LOGGER.name)
    stream = io.StringIO()
    states = [
        Progress(3, 18, 1, 2, seconds_left=5.0, eval_accuracy=None, epoch_ended=False),
        Progress(9, 18, 1, 2, seconds_left=4.0, eval_accuracy=0.9, epoch_ended=True),
    ]
    with TaskLog("Trainer", stream).training():
        for state in states:
            progress.report(state)
    progress.report(states[1])  # nobody listens any more
    lines = [TaskLine.parse(text) for text in stream.getvalue().splitlines()]
    assert [line.progress for line in lines] == [state for state in states if state.epoch_ended]
