"""Whole runs through the entrypoint, task by task, as the compiled YAML says."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import serving_dir
from components.serving_dir.log import LOG_NAME
from pipeline.runners.kubeflow import compiling, entrypoint
from pipeline.runners.kubeflow.compiling import compile_pipeline
from pipeline.runners.kubeflow.deployment import Deployment, Mount
from pipeline.runners.kubeflow.task_lines import TaskLine
from tests.pipeline.cli.processes import script
from tests.pipeline.runners.kubeflow.backend import ANY_MODEL, Backend, Ended

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once_newer,  # the entrypoint runs in the image
    pytest.mark.usefixtures("container"),
]


def backend(thirds: str, folder: Path, **changes: Any) -> Backend:
    """Of a pipeline that serves from `folder`; nothing is written elsewhere."""
    deployment = Deployment("image", "minio://mlpipeline", serving=Mount(str(folder / "serving")))
    overrides = {"dataset": thirds, **ANY_MODEL, **changes}
    text = compile_pipeline("quick", overrides, deployment).text
    return Backend(text.replace(compiling.SCRATCH, str(folder / "scratch")), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def cluster(thirds: str, folder: Path) -> Backend:
    """It searches before it trains; tests/e2e/test_kubeflow.py has runs that do not."""
    searching = {"tuning.enabled": True, "tuning.max_trials": 2, "tuning.epochs": 1}
    return backend(thirds, folder, **searching)


@pytest.fixture(scope="module")
def first(cluster: Backend) -> dict[str, Ended]:
    return cluster.run(seed=1)


@pytest.fixture(scope="module")
def second(cluster: Backend, first: dict[str, Ended]) -> dict[str, Ended]:
    return cluster.run(seed=2)


def _versions(folder: Path) -> list[serving_dir.Version]:
    return serving_dir.versions(folder / "serving", check_files=True)


def _checks_of(gate: Ended) -> list[dict[str, Any]]:
    return json.loads(Path(gate.answer.artifacts["blessing"].uri, "checks.json").read_text())


def test_the_first_run_releases_version_1_without_a_baseline(first, folder: Path) -> None:
    assert {name: ended.code for name, ended in first.items() if ended.code} == {}
    assert first["BaselineModel"].answer.artifacts["model"].absent
    version = _versions(folder)[0]
    assert (version.number, version.problems) == (1, ())
    assert version.manifest.release["baseline"] is None
    assert version.manifest.release["run_id"] == "5f2c"


def test_what_a_search_finds_is_trained_and_released(first, folder: Path) -> None:
    found = Path(first["Tuner"].answer.artifacts["best_hyperparameters"].uri)
    best = json.loads((found / "best_hyperparameters.txt").read_text())["values"]
    released = _versions(folder)[0].manifest.release["training"]
    assert {key: released[key] for key in best} == best


def test_the_second_run_is_compared_with_version_1(second, folder: Path) -> None:
    assert {name: ended.code for name, ended in second.items() if ended.code} == {}
    assert not second["BaselineModel"].answer.artifacts["model"].absent
    checks = _checks_of(second["ReleaseGate"])
    assert "max_drop" in {check["name"] for check in checks}
    assert [version.number for version in _versions(folder)] == [1, 2]
    assert _versions(folder)[1].manifest.release["baseline"]["version"] == 1


def test_a_retry_of_the_publication_publishes_only_what_still_holds(
    cluster: Backend, second, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = folder / "serving"
    shutil.copytree(served, tmp_path / "as it was")
    again = cluster.retry("Pusher")
    assert (again.code, again.answer.artifacts["pushed_model"].metadata["created"]) == (0, 0)

    serving_dir.rollback(served, reason="sevens")
    withdrawn = cluster.retry("Pusher")
    assert (withdrawn.code, withdrawn.answer) == (3, None)
    assert withdrawn.message.startswith(
        "refused: since the decision this very model was withdrawn by version 3 at "
    )
    said = [TaskLine.parse(line) for line in capsys.readouterr().out.splitlines()]
    (checks,) = [line.checks for line in said if line and line.checks]
    assert [check.name for check in checks if not check.passed] == ["integrity.current"]
    assert [version.number for version in _versions(folder)] == [1, 2, 3]
    # The backend knows no exit codes, and tries this again as well.
    last = cluster.retry("Pusher")
    assert (last.code, last.message, last.answer) == (3, withdrawn.message, None)
    assert [version.number for version in _versions(folder)] == [1, 2, 3]

    shutil.rmtree(served)
    shutil.copytree(tmp_path / "as it was", served)


def test_a_lost_serving_check_is_made_by_the_next_attempt(
    cluster: Backend, second, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "tensorflow_model_server"
    server.write_text("#!/bin/sh\nkill -KILL $$\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    lost = cluster.retry("ServingCheck")
    assert (lost.code, lost.answer) == (1, None)
    assert lost.message.startswith("failed: the model could not be served, which says nothing")
    server.unlink()
    made = cluster.retry("ServingCheck")
    assert (made.code, made.answer.parameters) == (0, {"refusal": ""})


def test_a_retried_release_gate_makes_the_same_decision_and_uses_up_no_other(
    cluster: Backend, second, folder: Path
) -> None:
    log = folder / "serving" / LOG_NAME
    before = log.read_bytes()
    again = cluster.retry("ReleaseGate")
    assert (again.code, again.answer.parameters) == (0, {"refusal": ""})
    assert _checks_of(again) == _checks_of(second["ReleaseGate"])
    assert log.read_bytes() == before


@pytest.mark.parametrize("task", ["Evaluator", "ReleaseGate", "ServingCheck", "Pusher"])
def test_a_model_that_was_altered_since_its_training_is_neither_judged_nor_published(
    cluster: Backend, second, folder: Path, task: str
) -> None:
    log, model = (
        folder / "serving" / LOG_NAME,
        Path(second["Trainer"].answer.artifacts["model"].uri),
    )
    before = log.read_bytes()
    (weights,) = model.rglob("variables.data-*")
    trained = weights.read_bytes()
    weights.write_bytes(trained[:-1] + bytes([trained[-1] ^ 1]))
    altered = cluster.retry(task)
    weights.write_bytes(trained)
    assert (altered.code, altered.answer) == (1, None)
    assert altered.message.startswith(
        f"failed: the model in {model} is not the one that was trained"
    )
    assert log.read_bytes() == before
    assert len(_versions(folder)) == 2


def test_what_did_not_change_has_the_same_parameters_so_the_backends_cache_knows_it(
    first, second
) -> None:
    changed = {name for name in first if first[name].parameters != second[name].parameters}
    # Another seed, and what is served now. The gates notice by their input artifacts.
    assert changed == {
        *("Plan", "Baseline", "DataGate", "Tuner", "Trainer", "BaselineModel", "Evaluator"),
        "Pusher",
    }


def _training(first: dict[str, Ended], folder: Path, *, epochs: int, **changes: Any) -> list[str]:
    """The command of another training, for a process of its own as in a container.

    What uses TensorFlow in this process has split no CPU.
    """
    *words, text = first["Trainer"].arguments
    given = json.loads(text)
    values = given["inputs"]["parameterValues"]
    properties = json.loads(values["exec_properties"])
    config = {**json.loads(properties["custom_config"]), **changes}
    config["hparams"]["epochs"] = epochs
    values["exec_properties"] = json.dumps({**properties, "custom_config": json.dumps(config)})
    for name, output in given["outputs"]["artifacts"].items():
        output["artifacts"][0]["uri"] = str(folder / name)
    given["outputs"]["outputFile"] = str(folder / "answer.json")
    return [sys.executable, "-m", entrypoint.__name__, *words, json.dumps(given)]


def test_two_replicas_train_where_a_container_has_a_cpu_alone_and_sigterm_leaves_a_checkpoint(
    first, tmp_path: Path
) -> None:
    kept = str(tmp_path / "kept")
    command = _training(first, tmp_path, epochs=100_000, replicas=2, checkpoints=kept)
    with (
        (tmp_path / "stderr").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        lines = map(TaskLine.parse, process.stdout)
        epochs_ended = (line for line in lines if line and line.progress)
        assert list(itertools.islice(epochs_ended, 2)), (tmp_path / "stderr").read_text()
        process.send_signal(signal.SIGTERM)
        *_, last = lines
    assert (process.returncode, last.failure[0]) == (143, 143)
    log = (tmp_path / "stderr").read_text()
    assert "replicas: 2" in log
    assert "Traceback" not in log
    assert list(tmp_path.glob("kept/*/*.checkpoint"))
    assert not (tmp_path / "answer.json").exists()


@pytest.fixture(scope="module")
def refused(cluster: Backend, second) -> dict[str, Ended]:
    # With 60 of 60 test images it is just shown to reach it; two are equal but for their labels.
    return cluster.run(seed=2, floor="0.763")


def test_a_failed_task_uploads_nothing_so_the_gate_completes_and_the_task_behind_it_fails(
    refused, folder: Path
) -> None:
    assert (refused["ReleaseGate"].code, refused["ServingCheck"].code) == (0, 3)
    assert "Pusher" not in refused
    reason = refused["ReleaseGate"].answer.parameters["refusal"]
    assert reason.startswith("accuracy 0.")
    assert refused["ReleaseGate"].answer.artifacts["blessing"].metadata["blessed"] == 0
    assert [version.number for version in _versions(folder)] == [1, 2]


def test_the_reason_is_the_message_of_the_task_that_fails(refused) -> None:
    reason = refused["ReleaseGate"].answer.parameters["refusal"]
    assert refused["ServingCheck"].message == f"refused by ReleaseGate: {reason}"


def test_a_retry_behind_a_refusal_fails_the_same_way_before_tfx_is_imported(refused) -> None:
    code = f"""
        import sys
        from {entrypoint.__name__} import main
        status = main(sys.argv[1:])
        print(sorted({{"tensorflow", "tfx"}} & set(sys.modules)))
        sys.exit(status)
    """
    done = script(code, *refused["ServingCheck"].arguments)
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        "tfx-mnist: ServingCheck: started",
        f"tfx-mnist: ServingCheck: {refused['ServingCheck'].message}",
        "[]",
    ]


def test_poisoned_data_is_refused_before_anything_is_trained(thirds: str, tmp_path: Path) -> None:
    ended = backend(thirds, tmp_path, **{"data_gate.max_train_test_overlap": 0.0}).run()
    assert (ended["DataGate"].code, ended["Transform"].code) == (0, 3)
    assert ended["Transform"].message.startswith("refused by DataGate: ")
    assert "Trainer" not in ended
    checks = _checks_of(ended["DataGate"])
    assert [check["name"] for check in checks if not check["passed"]] == ["data.overlap"]


def test_data_that_are_not_there_end_with_2_at_once(cluster: Backend, tmp_path: Path) -> None:
    ended = cluster.run(dataset=f"idx:{tmp_path}/none")
    assert {name: one.code for name, one in ended.items()} == {"Plan": 2}
    assert ended["Plan"].message.startswith("invalid: ")


def test_a_served_model_that_cannot_be_read_is_refused_at_once(thirds, tmp_path: Path) -> None:
    (tmp_path / "serving" / "3").mkdir(parents=True)
    ended = backend(thirds, tmp_path).run()
    assert {name: one.code for name, one in ended.items()} == {"Plan": 3}
    assert "3: has no manifest.json" in ended["Plan"].message
