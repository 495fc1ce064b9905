"""What a run in containers comes to, with a stand-in for the program that runs kfp."""

import dataclasses
import json
import logging
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components import serving_dir
from components.gate.check import Check
from components.gate.policy import GateConfig
from pipeline import result
from pipeline.cli.summary import summary
from pipeline.config_model import build
from pipeline.dataset_defaults import policy_for
from pipeline.runners.failures import CannotStart
from pipeline.runners.kubeflow import containers
from pipeline.runners.kubeflow.containers import LocalOptions
from pipeline.runners.kubeflow.parameters import CompiledFile
from pipeline.runners.locking import locked
from tests.components.serving_dir.samples import letter_model
from tests.components.test_signing import write_keys
from tests.pipeline.runners.kubeflow.fake_kfp import FakeKfp
from tests.pipeline.runners.kubeflow.kfp_python import run_in_containers, write_kfp_python
from tests.pipeline.runners.watch import Watch
from trainer.host import termination
from trainer.progress import Progress

pytestmark = pytest.mark.once  # what a script of ours says; .ci/run runs the real one with 1.21

# A program that keeps what it is told, and what it was told then.
KEEPS_ITS_ORDER = "(home / 'order.json').write_text(json.dumps(order))"


def order_in(root: Path) -> dict:
    return json.loads((root / "kubeflow" / "run-1" / "order.json").read_text())


Run = Callable[..., tuple[result.RunResult, Watch]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in the containers of a `--kfp-python` that does what the code says."""

    def run_(code: str = "", **overrides) -> tuple[result.RunResult, Watch]:
        return run_in_containers(tmp_path / "root", write_kfp_python(tmp_path, code), **overrides)

    return run_


def test_a_refusal_is_the_outcome_with_the_gates_checks(run: Run) -> None:
    check = {"name": "floor", "passed": False, "actual": 0.9, "required": 0.96, "sentence": "low"}
    outcome, watch = run(
        f"""
        say("ReleaseGate", "started"); say("ReleaseGate", "completed")
        blessing = {{"blessed": 0, "checks": {json.dumps([check])!r}}}
        leave("ReleaseGate", artifacts={{"blessing": blessing}})
        say("ServingCheck", "started"); say("ServingCheck", "refused by ReleaseGate: low")
        print("kfp: Task 'ServingCheck' failed"); sys.exit(1)
        """
    )
    assert (outcome.outcome, outcome.error) == (result.REFUSED, None)
    assert [one.sentence for one in outcome.checks] == ["low"]
    assert watch.names[0] == "Plan"
    assert watch.started == ["ReleaseGate", "ServingCheck"]
    assert watch.finished == {"ReleaseGate": False}
    assert watch.notes == ["ServingCheck: refused by ReleaseGate: low"]


def test_an_epoch_that_ends_in_a_container_is_reported_here(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told = Progress(9, 18, 1, 2, seconds_left=4.0, eval_accuracy=0.9, epoch_ended=True)
    run(f"say('Trainer', 'progress {json.dumps(dataclasses.asdict(told))}')")
    reported = [getattr(record, "progress", None) for record in caplog.records]
    assert [one for one in reported if one is not None] == [told]
    assert "tfx-mnist: Trainer: progress" in caplog.text  # each line is in the log


def test_a_decision_that_does_not_hold_any_more_is_a_refusal_with_its_line(run: Run) -> None:
    passed = Check("floor", True, 0.99, 0.96, "high")
    stale = Check("integrity.current", False, None, None, "compared with version 1, but 2 is live")
    outcome, watch = run(
        f"""
        blessing = {{"blessed": 1, "checks": {json.dumps([passed.to_dict()])!r}}}
        say("ReleaseGate", "started"); leave("ReleaseGate", artifacts={{"blessing": blessing}})
        say("ReleaseGate", "completed"); say("Pusher", "started")
        say("Pusher", 'checks {json.dumps([stale.to_dict(), passed.to_dict()])}')
        say("Pusher", "refused: {stale.sentence}")
        print("kfp: Task 'Pusher' failed"); sys.exit(1)
        """
    )
    assert (outcome.exit_code, outcome.error, outcome.release) == (3, None, None)
    assert outcome.checks == (stale, passed)
    assert watch.notes == [f"Pusher: refused: {stale.sentence}"]


def test_what_the_baseline_task_chose_is_in_the_result(run: Run, tmp_path: Path) -> None:
    policy = policy_for(GateConfig(), "mnist", num_classes=10, test_rows=10_000)
    release = json.dumps({"policy": policy.to_config()})
    served = {"serving_dir": "/s", "baseline_version": 3, "baseline_digest": "1c77"}
    values = {"Pusher": json.dumps({"release": release}), "BaselineModel": json.dumps(served)}
    outcome, _ = run(f"say('Baseline', 'started'); leave('Baseline', {values!r}); sys.exit(1)")
    assert outcome.baseline == {"version": 3, "model_digest": "1c77"}
    assert outcome.policy == policy
    served = tmp_path / "root" / "serving" / "mnist_sample"
    assert f"baseline: version 3 in {served}" in map(str, summary(outcome))


def test_a_release_is_read_from_what_the_pusher_left(run: Run) -> None:
    outcome, _ = run(
        """
        info = {"name": "mnist_sample", "spec": "mnist_sample", "class_names": ["0", "1"]}
        info |= {"image_shape": [28, 28, 1], "fingerprint": "f" * 64, "test_rows": 1}
        say("Plan", "started"); leave("Plan", {"dataset_info": json.dumps(info)})
        say("Plan", "completed")
        pushed = {"pushed": 1, "version": 3, "path": "/s/3", "created": 1}
        leave("Pusher", artifacts={"pushed_model": pushed})
        """
    )
    assert outcome.dataset == {"name": "mnist_sample", "digest": "f" * 64}
    assert (outcome.outcome, outcome.error) == (result.RELEASED, None)
    assert outcome.release == result.Release(version=3, path="/s/3")


def test_a_run_that_fails_after_its_release_says_which_version_stays(
    run: Run, tmp_path: Path
) -> None:
    served = tmp_path / "root" / "serving" / "mnist_sample"
    serving_dir.publish(letter_model(tmp_path, "a"), served, {"run_id": "run-1"})
    outcome, _ = run('say("Pusher", "started"); print("kfp: lost the engine"); sys.exit(1)')
    assert (outcome.outcome, outcome.exit_code) == (result.RELEASED, result.ExitCode.FAILED)
    assert outcome.release == result.Release(version=1, path=str(served / "1"))
    assert outcome.error.startswith(f"after version 1 was released in {served}/1: Pusher did not ")


def test_a_torn_answer_does_not_hide_the_release(run: Run, tmp_path: Path) -> None:
    served = tmp_path / "root" / "serving" / "mnist_sample"
    serving_dir.publish(letter_model(tmp_path, "a"), served, {"run_id": "run-1"})
    torn = "(home / 'run' / 'pusher' / 'executor_output.json').write_text('')"
    outcome, _ = run(f"leave('Pusher'); {torn}")
    assert (outcome.outcome, outcome.exit_code) == (result.RELEASED, result.ExitCode.FAILED)
    said = f"after version 1 was released in {served}/1: cannot read what the tasks left in "
    assert outcome.error.startswith(said)


def test_a_task_whose_last_line_was_lost_has_completed_if_it_left_its_answer(run: Run) -> None:
    outcome, _ = run(
        """
        say("ServingCheck", "started")
        leave("ServingCheck", artifacts={"infra_blessing": {"blessed": 1, "checks": "[]"}})
        say("Pusher", "started")
        pushed = {"pushed": 1, "version": 3, "path": "/s/3", "created": 1}
        leave("Pusher", artifacts={"pushed_model": pushed})
        say("Pusher", "completed")
        """
    )
    assert outcome.outcome == result.RELEASED
    assert list(outcome.seconds) == ["ServingCheck", "Pusher"]
    assert outcome.cached == ()


def test_a_task_that_left_its_answer_is_not_the_one_that_did_not_say_how_it_ended(run: Run) -> None:
    outcome, _ = run(
        """
        say("ServingCheck", "started")
        leave("ServingCheck", artifacts={"infra_blessing": {"blessed": 1, "checks": "[]"}})
        sys.exit(1)
        """
    )
    assert outcome.error == "kfp ended with exit code 1: "


def test_a_task_whose_first_line_was_lost_is_known_as_well(run: Run) -> None:
    began = time.monotonic()
    outcome, watch = run(
        """
        say("Pusher", "started"); say("Pusher", "completed")
        say("ServingCheck", "comp"); say("ServingCheck", "completed")
        sys.exit(1)
        """
    )
    assert list(outcome.seconds) == ["ServingCheck", "Pusher"]  # the pipeline's order
    assert max(outcome.seconds.values()) < time.monotonic() - began
    assert watch.finished == {"Pusher": False, "ServingCheck": False}
    assert outcome.error == "kfp ended with exit code 1: "


@pytest.mark.parametrize(
    ("text", "code", "bad_data"),
    [
        ("invalid: no such set", 1, True),
        ("failed: no such set", 1, False),
        # kfp's local runner ends well when the failed container was gone.
        ("failed: no such set", 0, False),
    ],
)
def test_a_task_that_fails_is_the_error(run: Run, text: str, code: int, bad_data: bool) -> None:
    outcome, _ = run(f"say('Plan', 'started'); say('Plan', {text!r}); sys.exit({code})")
    assert (outcome.outcome, outcome.bad_data) == (result.FAILED, bad_data)
    assert outcome.error == "Plan: no such set"


def test_local_runner_ends_well_when_the_container_was_gone_before_the_task_said_anything(
    run: Run,
) -> None:
    outcome, _ = run(
        """
        say("Plan", "started"); say("Plan", "completed"); say("Pusher", "started")
        print("Pipeline \\x1b[95m'tfx-mnist'\\x1b[0m finished with status SUCCESS")
        """
    )
    assert (outcome.outcome, outcome.error) == (
        result.FAILED,
        "Pusher did not say how it ended, as when it is killed for memory; kfp ended with exit "
        "code 0: Pipeline 'tfx-mnist' finished with status SUCCESS",
    )


def test_kfps_last_line_is_the_error_where_no_task_says_one(run: Run) -> None:
    outcome, _ = run("print('docker: no space left'); print(); sys.exit(1)")
    assert outcome.error == "kfp ended with exit code 1: docker: no space left"


def test_the_program_is_told_the_mounts_the_user_and_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, data = tmp_path / "root", tmp_path / "tfds"
    data.mkdir()
    monkeypatch.chdir(tmp_path)
    run(KEEPS_ITS_ORDER, dataset="mnist", data_dir="tfds")
    order = order_in(root)
    assert order["user"] == "7:7"
    assert order["environment"] == {"KFP_RUN_ID": "run-1"}
    assert order["mounts"] == [
        {"path": str(root / "serving" / "mnist"), "read_only": False},
        {"path": str(data), "read_only": True},
    ]
    compiled = CompiledFile.read(root / "kubeflow" / "run-1" / "pipeline.yaml")
    assert compiled.settings["data_dir"] == str(data)


def test_two_idx_folders_of_one_name_are_served_from_the_directories_that_run_would_take(
    thirds: str, tmp_path: Path
) -> None:
    from pipeline.run_plan import make_plan

    other = tmp_path / "other" / "thirds"
    shutil.copytree(thirds.removeprefix("idx:"), other)
    (labels,) = other.glob("t10k-labels*")
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 3]))
    served = set()
    for number, dataset in enumerate((thirds, f"idx:{other}")):
        root = tmp_path / f"root-{number}"
        run_in_containers(root, write_kfp_python(tmp_path, KEEPS_ITS_ORDER), dataset=dataset)
        given = {"pipeline_root": str(root), "dataset": dataset, "gate.floor": 0.9}
        plan = make_plan(build("quick", given), run_id="r")
        assert order_in(root)["mounts"][0]["path"] == plan.serving_dir
        served.add(Path(plan.serving_dir).name)
    assert len(served) == 2


def test_an_idx_folder_is_mounted_to_be_read(run: Run, thirds: str, tmp_path: Path) -> None:
    run(KEEPS_ITS_ORDER, dataset=thirds)
    folder = thirds.removeprefix("idx:")
    assert order_in(tmp_path / "root")["mounts"][1] == {"path": folder, "read_only": True}


def test_keys_are_mounted_to_be_read_where_the_containers_look_for_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"serving.signing_key": "private.pem", "serving.public_key": "public.pem"}
    write_keys(tmp_path)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    run(KEEPS_ITS_ORDER, **keys)
    assert order_in(root)["mounts"][1:] == [
        {"path": str(tmp_path / name), "read_only": True} for name in keys.values()
    ]
    settings = CompiledFile.read(root / "kubeflow" / "run-1" / "pipeline.yaml").settings
    assert {key: settings[key] for key in keys} == {
        key: str(tmp_path / name) for key, name in keys.items()
    }


def test_the_tasks_run_in_the_image_by_its_own_name_and_once(run: Run, tmp_path: Path) -> None:
    run()
    text = (tmp_path / "root" / "kubeflow" / "run-1" / "pipeline.yaml").read_text()
    assert "image: own/image:1\n" in text
    assert "retryPolicy" not in text  # by which kfp 2.17 would try a refused task again


@pytest.mark.parametrize("code", [1, 2])
def test_what_is_missing_is_said_before_anything_is_written(tmp_path: Path, code: int) -> None:
    program = write_kfp_python(
        tmp_path, check="there is no image image:1: make it", code_of_check=code
    )
    with pytest.raises(CannotStart, match="there is no image image:1: make it") as refused:
        run_in_containers(tmp_path / "root", program)
    assert refused.value.exit_code == code
    assert list((tmp_path / "root").iterdir()) == []


def test_a_python_that_fails_without_a_word_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"^/bin/false failed$") as refused:
        run_in_containers(tmp_path / "root", "/bin/false")
    assert refused.value.exit_code == 1


def test_an_engine_that_does_not_answer_is_not_waited_for_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kfp-python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(containers, "CHECK_S", 0.5)
    with pytest.raises(CannotStart, match=r"has not said within 0.5 s .*image:1: see") as refused:
        run_in_containers(tmp_path / "root", str(program))
    assert refused.value.exit_code == 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "cannot start /none/python: No such file"),
        ({"dataset": "MNIST!"}, "dataset is 'MNIST!'"),
        ({"dataset": "idx:/none"}, "idx:/none: there is no such directory"),
        (
            {"dataset": "mnist", "data_dir": "/none"},
            "there is no directory /none, expected the prepared data set in it, since the "
            "containers have no network: name another --data-dir",
        ),
    ],
)
def test_what_cannot_start_is_said_before_anything_is_looked_for(
    tmp_path: Path, given: dict[str, str], line: str
) -> None:
    with pytest.raises(CannotStart) as refused:
        run_in_containers(tmp_path / "root", "/none/python", **given)
    assert refused.value.exit_code == 2
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"reason": "{{x}}"}, "reason is '{{x}}', expected no '{{'"),
        ({"training.weights": "a.weights.h5"}, "training.weights is 'a.weights.h5', expected none"),
        ({"beam_args": ["--runnr=x"]}, "unknown option of Beam '--runnr': did you mean"),
    ],
)
def test_what_containers_cannot_do_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.weights.h5").touch()
    with pytest.raises(CannotStart) as refused:
        run(**given)
    assert refused.value.exit_code == 2
    assert str(refused.value).startswith(line)
    assert list((tmp_path / "root").iterdir()) == []


def test_a_second_run_on_one_root_ends_at_once_with_1(run: Run, tmp_path: Path) -> None:
    with locked(tmp_path / "root"), pytest.raises(CannotStart) as refused:
        run()
    assert refused.value.exit_code == 1
    assert str(refused.value).startswith(f"another run is at work in {tmp_path / 'root'}: wait")


def test_without_kfp_one_line_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    with pytest.raises(CannotStart, match=r"pip install '\.\[kubeflow\]' in the checkout"):
        run_in_containers(tmp_path / "root", "/none/python")


class Terminates(Watch):
    """Sends a signal to this process when the first task begins."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number

    def component_started(self, name: str) -> None:
        self.sent = time.monotonic()
        os.kill(os.getpid(), self.number)


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_a_signal_ends_after_its_release_says_which_version_stays(
    tmp_path: Path, number: int
) -> None:
    program = write_kfp_python(tmp_path, "say('Pusher', 'started'); import time; time.sleep(60)")
    configured = build("quick", {"pipeline_root": str(tmp_path / "root")})
    served = tmp_path / "root" / "serving" / "mnist_sample"
    serving_dir.publish(letter_model(tmp_path, "a"), served, {"run_id": "run-1"})
    options = LocalOptions(image="image:1", kfp_python=program, user="7:7")
    watch = Terminates(number)
    with (
        pytest.raises((termination.Terminated, KeyboardInterrupt)),
        termination.terminable(),
    ):
        outcome = containers.run(configured, {}, options, run_id="run-1", observer=watch)
    assert outcome.release == result.Release(version=1, path=str(served / "1"))


class Terminated(BaseException):
    """SIGTERM has arrived."""


@pytest.fixture
def terminable():
    """SIGTERM raises; SIGINT is ignored, as in what a shell starts with &: children inherit it."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    given = {signal.SIGTERM: terminate, signal.SIGINT: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in given.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _terminated(folder: Path, pipeline: str) -> tuple[FakeKfp, Terminates]:
    """A run with a container, terminated while its task runs."""
    code = "start('task', 'run-1')\n" + textwrap.dedent(pipeline)
    kfp, watch = FakeKfp(folder, code), Terminates()
    with pytest.raises(Terminated):
        containers.run(
            build("quick", {"pipeline_root": str(folder / "root")}),
            {},
            LocalOptions(image="image:1", kfp_python=kfp.python, user="7:7"),
            run_id="run-1",
            observer=watch,
        )
    return kfp, watch


def test_a_terminated_run_ends_kfp_and_its_containers_at_once(
    terminable, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(containers, "GRACE_S", 60.0)
    kfp, watch = _terminated(tmp_path, "say('Plan', 'started'); time.sleep(60)")
    assert time.monotonic() - watch.sent < containers.GRACE_S
    assert kfp.running == set()


def test_kfp_that_does_not_listen_is_killed_with_its_containers(
    terminable, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(containers, "GRACE_S", 0.5)
    kfp, _ = _terminated(
        tmp_path,
        """
        note("pid", os.getpid())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("Plan", "started"); time.sleep(60)
        """,
    )
    assert kfp.running == set()
    with pytest.raises(ProcessLookupError):
        os.kill(kfp.noted("pid"), 0)


def test_containers_that_cannot_be_ended_are_said(terminable, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(containers, "GRACE_S", 0.5)
    _, watch = _terminated(
        tmp_path,
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        CONTAINERS.rename(ENGINE / "gone")
        say("Plan", "started"); time.sleep(60)
        """,
    )
    (note,) = watch.notes
    assert "the engine did not end the containers labelled tfx-mnist.run=run-1" in note
