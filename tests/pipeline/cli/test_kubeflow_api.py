"""`kubeflow submit`, `schedule`, `schedules`, `unschedule` and `status` against a local server."""

import datetime
import json
import socket
import ssl
import sys
from pathlib import Path

import kfp_server_api as api
import pytest
from kfp.client import Client

from pipeline.cli.main import main
from pipeline.runners.kubeflow import client
from tests import http_servers
from tests.pipeline.runners.kubeflow.api_server import State, certificate, serving
from tests.pipeline.runners.kubeflow.compiled import compiled

Captured = pytest.CaptureFixture[str]

NOON = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.timezone.utc)
NIGHTLY = "0 0 2 * * *"
# What Argo puts in front of a container's message (operator.go, inferFailedReason).
ARGO = "main: Error (exit code 1): "
RUN_VALUES = {"dataset": "mnist_sample", "preset": "quick", "seed": 3, "epochs": "", "floor": ""}

pytestmark = [
    # kfp's client says that it is none for the API before 2.0.
    pytest.mark.filterwarnings("ignore:This client only works:FutureWarning"),
    # kfp-server-api 2.0, of the older generation, calls what urllib3 2 deprecates.
    pytest.mark.filterwarnings("ignore:HTTPResponse.getheader:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def no_settings_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def host(state: State):
    with serving(state) as url:
        yield url


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(compiled().text)
    return path


@pytest.fixture
def ask(host: str, capfd: Captured):
    """Runs a command: (exit code, its JSON object)."""

    def run(*words: str) -> tuple[int, dict]:
        code = main(["kubeflow", *words, "--host", host, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


@pytest.fixture
def submit(ask, pipeline: Path):
    return lambda *words: ask("submit", "--pipeline", str(pipeline), *words)


@pytest.fixture
def schedule(ask, pipeline: Path):
    return lambda *words: ask("schedule", "--pipeline", str(pipeline), "--cron", NIGHTLY, *words)


def test_a_run_starts_with_every_value_and_the_compiled_root(submit, state: State) -> None:
    code, fields = submit("--seed", "7", "--epochs", "2")
    (run,) = state.runs
    assert (code, fields) == (0, {"run": run.run_id, "error": None})
    assert run.runtime_config.parameters == {**RUN_VALUES, "seed": 7, "epochs": "2"}
    assert run.runtime_config.pipeline_root == "minio://mlpipeline/v2/artifacts"
    assert run.display_name.startswith("tfx-mnist ")
    assert [one.display_name for one in state.experiments] == ["tfx-mnist"]


def test_a_service_account_and_an_experiment_are_passed_on(submit, state: State) -> None:
    submit("--service-account", "trainer", "--experiment", "nightly")
    assert state.runs[0].service_account == "trainer"
    assert [one.display_name for one in state.experiments] == ["nightly"]


def test_two_experiments_of_one_name_are_said_in_one_line(submit, state: State) -> None:
    state.experiments += [
        api.V2beta1Experiment(experiment_id=id_, display_name="tfx-mnist", namespace="")
        for id_ in ("e1", "e2")
    ]
    code, fields = submit()
    assert (code, state.runs) == (1, [])
    assert fields["error"].startswith("Multiple experiments ")  # kfp's words


def test_the_same_content_is_uploaded_once(submit, state: State, pipeline: Path) -> None:
    submit()
    submit()
    assert len(state.versions) == 2  # the one that came with the pipeline, and ours
    assert len({run.pipeline_version_reference.pipeline_version_id for run in state.runs}) == 1
    pipeline.write_text(pipeline.read_text() + "# changed\n")
    submit()
    assert len(state.pipelines) == 1
    assert len(state.versions) == 3


def test_why_the_api_refuses_an_upload_is_said(submit, pipeline: Path) -> None:
    pipeline.write_text(pipeline.read_text().replace("Version: 2.1.0", "Version: 2.0.0"))
    code, fields = submit()
    assert code == 2
    assert fields["error"].endswith("answers 400 Bad Request: schema 2.0.0, expected 2.1.0")


def test_it_is_found_on_any_page(submit, state: State) -> None:
    state.page_size = 1
    submit()
    submit()
    assert len(state.versions) == 2


def test_each_namespace_has_a_pipeline_and_schedules_of_its_own(
    submit, schedule, ask, state: State
) -> None:
    ours = ("--namespace", "ours")
    assert [submit(*ours)[0], submit(*ours)[0], submit()[0]] == [0, 0, 0]
    assert [one.namespace for one in state.pipelines] == ["ours", ""]
    assert [one.namespace for one in state.experiments] == ["ours", ""]
    assert [schedule(*ours)[1]["replaced"], schedule(*ours)[1]["replaced"]] == [0, 1]
    assert ask("schedules")[1]["schedules"] == []
    assert ask("unschedule", "tfx-mnist", *ours) == (0, {"removed": 1, "error": None})


def test_a_schedule_starts_one_run_at_a_time_and_makes_up_for_none(schedule, state) -> None:
    code, fields = schedule("--name", "nightly")
    (made,) = state.recurring_runs
    assert (code, fields["schedule"], fields["replaced"]) == (0, made.recurring_run_id, 0)
    assert (made.display_name, made.mode, made.max_concurrency) == ("nightly", "ENABLE", "1")
    assert (made.trigger.cron_schedule.cron, made.no_catchup) == (NIGHTLY, True)
    assert made.runtime_config.parameters == RUN_VALUES


def test_scheduling_the_same_name_again_replaces_it(schedule, ask, state: State) -> None:
    schedule("--name", "other")
    schedule("--name", "nightly")
    code, fields = schedule("--name", "nightly", "--catch-up", "--dataset", "mnist")
    assert (code, fields["replaced"]) == (0, 1)
    _, listed = ask("schedules")
    assert [(one["name"], one["cron"], one["catch_up"]) for one in listed["schedules"]] == [
        ("nightly", NIGHTLY, True),
        ("other", NIGHTLY, False),
    ]
    assert state.recurring_runs[1].runtime_config.parameters["dataset"] == "mnist"


def test_an_hour_that_does_not_exist_is_refused_by_the_api_and_ends_with_2(
    schedule, state: State
) -> None:
    code, fields = schedule("--cron", "0 0 24 * * *")
    assert (code, state.recurring_runs) == (2, [])
    assert "answers 400 Bad Request: Schedule cron is not a supported format" in fields["error"]


@pytest.fixture
def foreign(state: State) -> list[api.V2beta1RecurringRun]:
    """A schedule "nightly" of another pipeline, and one of a run that brings its own."""
    state.pipelines.append(api.V2beta1Pipeline(pipeline_id="other", display_name="other"))
    other = api.V2beta1PipelineVersionReference(pipeline_id="other", pipeline_version_id="v")
    made = [
        api.V2beta1RecurringRun(
            recurring_run_id=f"foreign-{number}",
            display_name="nightly",
            pipeline_version_reference=reference,
        )
        for number, reference in enumerate((other, None))
    ]
    state.recurring_runs += made
    return made


def test_a_schedule_of_another_pipeline_with_that_name_stays(
    schedule, ask, state: State, foreign
) -> None:
    assert schedule("--name", "nightly")[1]["replaced"] == 0
    assert schedule("--name", "nightly")[1]["replaced"] == 1
    assert len(ask("schedules")[1]["schedules"]) == 1
    assert ask("unschedule", "nightly") == (0, {"removed": 1, "error": None})
    assert state.recurring_runs == foreign


def test_before_the_first_upload_no_schedule_is_ours(ask, state: State, foreign) -> None:
    assert ask("schedules")[1]["schedules"] == []
    code, fields = ask("unschedule", "nightly")
    assert code == 2
    assert fields["error"] == "there is no schedule 'nightly', expected one of: none"
    assert state.recurring_runs == foreign


def test_the_new_schedule_is_there_before_the_old_one_goes(schedule, state: State) -> None:
    schedule()
    schedule()
    changes = [verb for verb, path in state.requests if path.startswith("/recurringruns")]
    assert [verb for verb in changes if verb != "GET"] == ["POST", "POST", "DELETE"]


def test_no_schedule_of_that_name_ends_with_2_and_names_the_others(schedule, ask) -> None:
    schedule("--name", "nightly")
    code, fields = ask("unschedule", "nighty")
    assert code == 2
    assert fields["error"] == "there is no schedule 'nighty', expected one of: nightly"


def _task(name: str, state: str | None, message: str = "") -> api.V2beta1PipelineTaskDetail:
    # The two generations write the model's name in two ways.
    status = getattr(api, api.V2beta1PipelineTaskDetail.openapi_types["error"])
    error = status(message=message) if message else None
    return api.V2beta1PipelineTaskDetail(display_name=name, state=state, error=error)


def _run(state: str, *tasks: api.V2beta1PipelineTaskDetail) -> api.V2beta1Run:
    drivers = [_task(f"{task.display_name}-driver", "SUCCEEDED") for task in tasks]
    details = api.V2beta1RunDetails(task_details=[*drivers, *tasks])
    return api.V2beta1Run(run_id="r1", display_name="a run", state=state, run_details=details)


@pytest.mark.parametrize(
    ("run", "code", "refused"),
    [
        (api.V2beta1Run(run_id="r1", display_name="a run", state="PENDING"), 0, False),
        (_run("RUNNING", _task("plan", "SUCCEEDED"), _task("trainer", "RUNNING")), 0, False),
        (_run("SUCCEEDED", _task("pusher", "SUCCEEDED")), 0, False),
        (_run("FAILED", _task("trainer", "FAILED", "failed: OSError: disk full")), 1, False),
        (_run("FAILED", _task("pusher", "FAILED", "refused by ServingCheck: slow")), 3, True),
        (_run("FAILED", _task("pusher", "FAILED", f"{ARGO}refused by ReleaseGate: x")), 3, True),
        (_run("FAILED", _task("plan", "FAILED", f"{ARGO}refused: the manifest is gone")), 3, True),
        (_run("FAILED", _task("plan", "FAILED", f"{ARGO}failed: OSError: refused")), 1, False),
        (_run("FAILED", _task("pusher", "FAILED")), 1, False),
        (_run("CANCELED", _task("trainer", "CANCELED")), 1, False),
    ],
)
def test_status_ends_as_run_would(ask, state: State, run, code: int, refused: bool) -> None:
    state.runs.append(run)
    ended, fields = ask("status", "r1")
    assert (ended, fields["refused"], fields["state"]) == (code, refused, run.state)


def test_status_leaves_out_the_backends_own_nodes(ask, state: State) -> None:
    run = _run("FAILED", _task("root", "FAILED"), _task("serving-check", "FAILED"))
    run.run_details.task_details.append(_task("executor", "FAILED"))
    state.runs.append(run)
    assert ask("status", "r1")[1]["tasks"] == {"ServingCheck": "FAILED"}


def test_status_lists_the_tasks_as_they_started(ask, state: State) -> None:
    run = _run("RUNNING", *(_task(name, "RUNNING") for name in ("trainer", "pusher", "plan")))
    trainer, pusher, plan = run.run_details.task_details[3:]
    plan.start_time, trainer.start_time = NOON, NOON + datetime.timedelta(minutes=1)
    pusher.state = "PENDING"  # the API lists them in any order
    state.runs.append(run)
    assert list(ask("status", "r1")[1]["tasks"]) == ["Plan", "Trainer", "Pusher"]


def test_a_task_that_never_starts_in_a_failed_run_is_skipped(ask, state: State) -> None:
    run = _run("FAILED", _task("trainer", "FAILED"), _task("pusher", None))
    run.run_details.task_details[-1].end_time = NOON
    state.runs.append(run)
    assert ask("status", "r1")[1]["tasks"] == {"Trainer": "FAILED", "Pusher": "SKIPPED"}


def test_a_task_that_has_not_started_is_pending(ask, state: State) -> None:
    state.runs.append(_run("RUNNING", _task("trainer", "RUNNING"), _task("pusher", None)))
    assert ask("status", "r1")[1]["tasks"] == {"Trainer": "RUNNING", "Pusher": "PENDING"}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (
            [_task("plan", "SUCCEEDED"), _task("pusher", "FAILED")],
            ["  Plan: succeeded", "  Pusher: failed", "Pusher"],
        ),
        ([_task("root", "FAILED")], ["the run"]),  # before any task
    ],
)
def test_where_the_api_does_not_say_why_the_way_to_the_message_is_said(
    host: str, state: State, capfd: Captured, tasks: list, said: list[str]
) -> None:
    state.runs.append(_run("FAILED", *tasks))
    assert main(["kubeflow", "status", "r1", "--host", host]) == 1
    *shown, who = said
    assert capfd.readouterr().out.splitlines() == [
        *("a run: failed", *shown),
        f"{who}: the API does not say why; its message is in the UI",
        "or: kubectl -n kubeflow get workflow -l pipeline/runid=r1 -o "
        """jsonpath='{range .items[*].status.nodes.*}{.message}{"\\n"}{end}' | sort -u""",
    ]


def test_a_run_that_is_not_there_ends_with_2(ask) -> None:
    code, fields = ask("status", "none")
    assert code == 2
    assert fields["error"].endswith("answers 404 Not Found: /runs/none not found")


def test_people_are_told_in_one_line(host, pipeline, capfd: Captured) -> None:
    words = ["--host", host, "--pipeline", str(pipeline)]
    assert main(["kubeflow", "schedule", *words, "--cron", NIGHTLY]) == 0
    assert main(["kubeflow", "schedule", *words, "--cron", NIGHTLY]) == 0
    assert main(["kubeflow", "schedules", "--host", host]) == 0
    assert main(["kubeflow", "unschedule", "tfx-mnist", "--host", host]) == 0
    assert main(["kubeflow", "schedules", "--host", host]) == 0
    assert capfd.readouterr() == (
        "scheduled: tfx-mnist at 0 0 2 * * * (UTC)\n"
        "scheduled: tfx-mnist at 0 0 2 * * * (UTC), in place of 1\n"
        "tfx-mnist: 0 0 2 * * * (UTC)\n"
        "unscheduled: tfx-mnist; runs go on\n"
        "no schedule\n",
        "",
    )


def test_in_a_pod_its_namespace_is_taken_and_nothing_is_written_into_the_home_directory(
    state: State, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.instead["/healthz"] = b'{"multi_user": true}'
    namespace = tmp_path / "namespace"
    namespace.write_text("team")
    monkeypatch.setattr(Client, "_NAMESPACE_PATH", str(namespace))
    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(namespace / "kfp" / "context.json"))
    with client.connected(host) as connected:
        assert connected.get_user_namespace() == "team"


def test_a_token_is_sent_as_bearer_and_a_wrong_one_is_said(
    ask, state: State, tmp_path: Path
) -> None:
    state.token = "Bearer s3cret"
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    assert ask("schedules", "--token-file", str(file))[0] == 0
    assert state.authorization == {"Bearer s3cret"}
    code, fields = ask("schedules")
    assert code == 1
    assert fields["error"].endswith("answers 401 Unauthorized: Request not authenticated")


def test_a_client_certificate_is_shown_where_the_server_asks_for_one(
    state: State, tmp_path: Path, capfd: Captured
) -> None:
    cert, key = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    tls.load_verify_locations(cert)
    tls.verify_mode = ssl.CERT_REQUIRED
    with serving(state, tls) as url:
        words = ["kubeflow", "schedules", "--host", url, "--ca-cert", str(cert)]
        assert main([*words, "--cert", str(cert), "--key", str(key)]) == 0
        assert main(words) == 1
    assert f"{url} does not answer (" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--host", "localhost"], "--host is 'localhost', expected http:// or https://"),
        (["--cert", __file__], "--cert is given alone, expected --key with it"),
        (["--ca-cert", "/none"], "--ca-cert is '/none', expected a file"),
        (["--token-file", "/none"], "cannot read --token-file /none: No such file or directory"),
        (["--token-file", "/dev/zero"], "cannot read --token-file /dev/zero: Is a device, expect"),
        (["--token-file", "empty"], "--token-file empty is empty, expected a token"),
        (["--cron", "0 2 * * *"], "--cron is '0 2 * * *', expected six fields, seconds first"),
        (["--name", ""], "--name is '', expected a name"),
        (["--experiment", " "], "--experiment is ' ', expected a name"),
    ],
)
def test_usage_is_refused_in_one_line(
    words: list[str],
    line: str,
    pipeline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Captured,
) -> None:
    monkeypatch.chdir(pipeline.parent)
    Path("empty").touch()
    command = ["kubeflow", "schedule", "--host", "http://x", "--pipeline", str(pipeline)]
    assert main([*command, "--cron", NIGHTLY, *words]) == 2
    shown = capfd.readouterr()
    assert shown.err.startswith(f"tfx-mnist: {line}")
    assert (shown.err.count("\n"), shown.out) == (1, "")


def test_an_api_that_is_not_there_ends_with_1_at_once(capfd: Captured) -> None:
    assert main(["kubeflow", "schedules", "--host", "http://localhost:1"]) == 1
    shown = capfd.readouterr()
    assert shown.err.startswith(
        "tfx-mnist: http://localhost:1 does not answer (Failed to establish"
    )
    assert shown.err.endswith(
        "expected the API of Kubeflow Pipelines: is the port-forward there, and with https: does "
        "--ca-cert name its authority?\n"
    )


@pytest.mark.parametrize("words", [["schedules"], ["status", "x", "--namespace", "team"]])
@pytest.mark.parametrize("content", [b"<html>log in</html>", b"null", b"{}"])
def test_what_answers_as_another_program_ends_with_1(
    capfd: Captured, words: list[str], content: bytes
) -> None:
    class Other(http_servers.Handler):
        def do_GET(self) -> None:
            self.answer(200, content)

    with http_servers.serving(Other) as host:
        assert main(["kubeflow", *words, "--host", host]) == 1
    assert capfd.readouterr() == (
        "",
        f"tfx-mnist: {host} answers as another program, expected the API of Kubeflow Pipelines: "
        "give another --host, or a --token-file where one has to log in\n",
    )


@pytest.mark.parametrize(
    ("path", "words", "content"),
    [
        ("/pipelines", ["schedules"], b"<html>log in</html>"),
        ("/recurringruns", ["unschedule", "tfx-mnist"], b"null"),
        ("/runs", ["submit"], b"<html>log in</html>"),
        ("/runs/r1", ["status", "r1"], b"null"),
    ],
)
def test_what_answers_as_another_program_later_ends_with_1(
    submit, ask, state: State, pipeline: Path, path: str, words: list[str], content: bytes
) -> None:
    submit()
    state.instead[path] = content
    words = [*words, "--pipeline", str(pipeline)] if words == ["submit"] else words
    code, fields = ask(*words)
    assert code == 1
    assert "answers as another program, expected the API of Kubeflow Pipelines" in fields["error"]


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (401, b"<html>log in</html>", "401 Unauthorized: give another --token-file"),
        (403, b'{"error": "rbac"}', "403 Forbidden: ask for the rights, or another --namespace"),
        (403, b'{"message": null}', "403 Forbidden: ask for the rights, or another --namespace"),
        (502, b"[]", "502 Bad Gateway: no reason given"),
    ],
)
def test_what_stands_in_front_of_the_api_and_gives_no_reason_ends_with_1_and_a_remedy(
    capfd: Captured, status: int, content: bytes, said: str
) -> None:
    class InFront(http_servers.Handler):
        def do_GET(self) -> None:
            self.answer(status, content)

    with http_servers.serving(InFront) as host:
        assert main(["kubeflow", "schedules", "--host", host]) == 1
    assert capfd.readouterr() == ("", f"tfx-mnist: {host} answers {said}\n")


@pytest.mark.parametrize("namespace", [(), ("--namespace", "team")])
def test_an_api_that_never_answers_ends_with_1(
    capfd: Captured, monkeypatch: pytest.MonkeyPatch, namespace: tuple[str, ...]
) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["kubeflow", "schedules", "--host", host, *namespace]) == 1
    shown = capfd.readouterr()
    assert shown.err.startswith(f"tfx-mnist: {host} does not answer (Read timed out")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("command", [("submit",), ("schedule", "--cron", NIGHTLY)])
@pytest.mark.parametrize("path", ["/none.yaml", __file__])
def test_a_file_that_is_no_compiled_pipeline_ends_with_2_before_the_api_is_asked(
    ask, state: State, command: tuple[str, ...], path: str
) -> None:
    code, fields = ask(*command, "--pipeline", path)
    assert code == 2
    assert "tfx-mnist kubeflow compile" in fields["error"]
    assert path in fields["error"]
    assert state.requests == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--preset", "quik"], "unknown preset 'quik'"),
        (["--dataset", "idx:data"], "dataset is 'idx:data'"),
    ],
)
def test_a_run_that_the_cluster_would_refuse_ends_with_2_before_the_api_is_asked(
    submit, schedule, state: State, words: list[str], line: str
) -> None:
    for command in (submit, schedule):
        code, fields = command(*words)
        assert code == 2
        assert fields["error"].startswith(line)
    assert state.requests == []


def test_without_kfp_one_line_says_what_to_install(
    capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    assert main(["kubeflow", "schedules", "--host", "http://localhost:1"]) == 1
    assert "pip install '.[kubeflow]' in the checkout" in capfd.readouterr().err
