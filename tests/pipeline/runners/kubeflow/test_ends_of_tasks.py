"""What a task that does not complete leaves behind: an exit code, a message and no answer; and a
gate that refuses: its answer.
"""

import json
from pathlib import Path

import pytest

from components.gate.check import Check
from pipeline.runners.kubeflow import entrypoint, tasks
from pipeline.runners.kubeflow.names import RUN_ID_VARIABLE
from pipeline.runners.kubeflow.task_io import Answer, ExecutorInput
from pipeline.runners.kubeflow.tasks import UNTYPED
from tests.pipeline.runners.kubeflow import ending
from tests.pipeline.runners.kubeflow.executor_inputs import artifact, executor_input

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("container", "survives")]


def _end(executor: type, folder: Path, task: str) -> tuple[int, str]:
    """(exit code, message) of a task with that executor, which leaves no answer."""
    answer, message = folder / "output.json", folder / "termination-log"
    message.touch()
    arguments = [
        *("component", "--name", task),
        *("--executor", f"{executor.__module__}.{executor.__name__}"),
        *("--types", '{"inputs": {}, "outputs": {}}'),
        *("--executor-input", executor_input(answer, parameters={"exec_properties": "{}"})),
    ]
    code = entrypoint.main(arguments, termination_log=message)
    assert not answer.exists()
    return code, message.read_text()


def test_a_check_that_cannot_be_made_fails_its_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "failed: the server ended with SIGKILL; the same command makes the check again"
    assert _end(ending.CannotCheck, tmp_path, "ServingCheck") == (1, reason)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"tfx-mnist: ServingCheck: {reason}"
    assert "Traceback" in err


LOW = Check("floor", False, 0.9, 0.96, "accuracy 0.9 is low")
HIGH = Check("max_drop", True, 0.0, 0.01, "nothing is lost")


@pytest.mark.parametrize(
    ("checks", "refusal"), [((LOW, HIGH), LOW.sentence), ((), "no reason given")]
)
def test_a_refusal_is_the_answer_of_a_gate_and_never_empty_since_tasks_behind_it_would_go_on(
    tmp_path: Path, checks: tuple[Check, ...], refusal: str
) -> None:
    answer = tmp_path / "output.json"
    properties = json.dumps({"checks": [check.to_dict() for check in checks]})
    tasks.run_component(
        ExecutorInput.parse(
            executor_input(
                answer,
                parameters={"exec_properties": properties},
                outputs={"blessing": artifact(tmp_path / "blessing")},
                output_parameters=("refusal",),
            )
        ),
        "run-1",
        executor=f"{ending.__name__}.{ending.RefusesAsToldTo.__name__}",
        types={"inputs": {}, "outputs": {"blessing": UNTYPED}},
        gate="blessing",
    )
    given = Answer.parse(answer.read_text())
    assert given.parameters == {"refusal": refusal}
    assert given.artifacts["blessing"].properties["blessed"] == 0


@pytest.mark.parametrize(
    "executor",
    [
        ending.SwallowsTheSignal,
        ending.TurnsTheSignalIntoAnError,
        ending.TurnsTheSignalIntoARefusal,
    ],
)
def test_a_terminated_task_ends_with_143_whatever_becomes_of_the_signal(
    executor: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = (
        "terminated: SIGTERM arrived before the task was done; nothing is half published, and "
        "another attempt does the task again"
    )
    assert _end(executor, tmp_path, "Pusher") == (143, reason)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"tfx-mnist: Pusher: {reason}"
    assert "Traceback" not in err


def test_launcher_names_no_run_so_without_the_platforms_document_the_task_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(RUN_ID_VARIABLE)
    text = executor_input(tmp_path / "output.json", parameters={"exec_properties": "{}"})
    words = ["--name", "Pusher", "--executor", "x.Y", "--types", '{"inputs": {}, "outputs": {}}']
    assert entrypoint.main(["component", *words, "--executor-input", text]) == 1
    assert "KFP_RUN_ID is not in the environment, expected the run's id" in capsys.readouterr().out


def test_arguments_that_nobody_replaced_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert entrypoint.main(["plan", "--executor-input", "{{$}}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tfx-mnist: Plan: started"
    assert lines[1].startswith("tfx-mnist: Plan: failed: the executor input is '{{$}}'")
