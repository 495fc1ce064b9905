"""What of a user's environment reaches Keras and gRPC in our processes, and their garbage."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.environment import GPU_FILES, gpu_files, settle
from trainer.training_process import seeing_gpus

ROOT = Path(__file__).parents[2]
OWN = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
STEERED = ("KERAS_", "TF_USE_LEGACY_KERAS")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")

KERAS = """
import atexit, gc
from trainer.environment import collect_seldom
atexit.register(lambda: print(gc.get_freeze_count() > 10_000))  # after what is registered later
collect_seldom()
collect_seldom()
import json, keras, tf_keras
for each in (keras.config, tf_keras.backend):
    print(each.image_data_format(), each.floatx(), each.epsilon())
print(keras.config.backend(), keras.config.max_epochs())
print(sum(generation["collections"] for generation in gc.get_stats()))
"""
# Each begins with this and is known by what it does next; those that train are in
# tests/test_working_directory.py.
PROCESSES = {
    "the command line": "from pipeline.cli.main import main; main(['--version'])",
    "a task on Kubeflow": """
import contextlib
from pipeline.runners.kubeflow.entrypoint import main
with contextlib.suppress(SystemExit): main(["--help"])
""",
}


def run_python(code: str, **environment: str) -> list[str]:
    """The lines that it prints, in an environment in which nothing of ours is settled."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(STEERED) and name.lower() not in PROXY_VARIABLES
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_no_file_or_variable_of_the_user_sets_keras_and_its_import_is_searched_seldom(
    tmp_path: Path,
) -> None:
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({**settings, "backend": "jax"}))
    variables = {"KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "2", "TF_USE_LEGACY_KERAS": "0"}
    *found, searches, frozen = run_python(KERAS, HOME=str(tmp_path), **variables)
    expected = "channels_last float32 1e-07"
    assert found == [expected, expected, "tensorflow None"]
    assert int(searches) < 100  # thousands by default
    assert frozen == "True"  # and nothing is searched at the end


@pytest.mark.parametrize(("given", "settled"), [({}, "1"), ({ONEDNN: "0"}, "0")])
def test_onednn_computes_on_each_processor_unless_the_user_says_no(
    given: dict[str, str], settled: str
) -> None:
    environment = dict(given)
    settle(environment)
    assert environment[ONEDNN] == settled


def test_keras_writes_no_settings_either() -> None:
    environment: dict[str, str] = {}
    settle(environment)
    with pytest.raises(NotADirectoryError):
        Path(environment["KERAS_HOME"], "keras.json").write_text("{}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ([], [], [])),
        ({"no_proxy": "a.example, b.example"}, (["a.example", "b.example"],) * 3),
        # Those who read the lower case first must not lose what the upper case says.
        ({"NO_PROXY": "a.example"}, (["a.example"],) * 3),
        (
            {"no_proxy": "a.example", "NO_PROXY": "b.example", "no_grpc_proxy": "c.example"},
            (["a.example"], ["b.example"], ["c.example"]),
        ),
    ],
)
def test_our_own_machine_is_added_to_what_the_user_reaches_directly(
    given: dict[str, str], expected: tuple[list[str], ...]
) -> None:
    environment = dict(given)
    settle(environment)
    names = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
    assert [environment[name].split(",") for name in names] == [[*one, *OWN] for one in expected]


def test_all_without_a_proxy_stays_all() -> None:
    environment = {"no_proxy": "*"}
    settle(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == "*"
    assert environment["no_grpc_proxy"].split(",") == ["*", *OWN]


def test_the_machines_of_a_training_and_the_chief_of_a_search_are_reached_directly() -> None:
    cluster = {"worker": ["10.0.0.1:2222", "[fd00::2]:2222", "host.example:2222"]}
    environment = {
        "KERASTUNER_ORACLE_IP": "10.0.0.9",
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}),
    }
    settle(environment)
    others = ["10.0.0.9", "10.0.0.1", "fd00::2", "host.example"]
    assert environment["no_grpc_proxy"].split(",") == [*OWN, *others]


def test_a_tf_config_that_cannot_be_used_is_left_to_who_uses_it() -> None:
    environment = {"TF_CONFIG": "{"}
    settle(environment)
    assert environment["no_grpc_proxy"].split(",") == OWN


def test_settled_once_is_settled_for_all_children() -> None:
    environment = {"no_proxy": "a.example"}
    settle(environment)
    once = dict(environment)
    settle(environment)
    assert environment == once


def test_the_proxies_themselves_stay() -> None:
    given = {"http_proxy": "http://p.example", "HTTPS_PROXY": "http://q.example"}
    environment = dict(given)
    settle(environment)
    assert given.items() <= environment.items()


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [(False, {}, "/"), (False, {"HOME": "/srv"}, "/srv"), (True, {}, None)],
)
def test_a_user_who_is_a_number_alone_has_a_home(
    known: bool, given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry(uid: int) -> None:
        if not known:
            raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", entry)
    environment = dict(given)
    settle(environment)
    assert environment.get("HOME") == expected


VISIBLE = "CUDA_VISIBLE_DEVICES"
HIDDEN = [({VISIBLE: text}, False) for text in ("", " ", "-1")]
GIVEN = [{}, {VISIBLE: "0,1"}, {VISIBLE: ""}, {VISIBLE: "-1"}]


@pytest.mark.parametrize("given", GIVEN)
def test_gpus_are_hidden_and_those_who_train_see_what_the_user_lets_them_see(given) -> None:
    environment = dict(given)
    settle(environment)
    assert environment[VISIBLE] == "-1"
    child = {**environment, **seeing_gpus()}
    settle(child)
    assert child.get(VISIBLE) == given.get(VISIBLE)


@pytest.mark.parametrize(("given", "found"), [({}, True), ({VISIBLE: "1"}, True), *HIDDEN])
def test_gpus_that_the_user_has_hidden_are_not_looked_for(given, found, tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    pattern = str(tmp_path / Path(GPU_FILES).name)
    monkeypatch.setattr("trainer.environment.GPU_FILES", pattern)
    environment = dict(given)
    expected = [str(tmp_path / name) for name in ("nvidia0", "nvidia1")] if found else []
    assert gpu_files(environment) == expected
    settle(environment)
    assert gpu_files(environment) == expected


@pytest.mark.once  # each asks for it before it imports a library
@pytest.mark.parametrize("code", PROCESSES.values(), ids=PROCESSES)
def test_the_processes_that_import_much_search_seldom(code: str) -> None:
    assert run_python(f"{code}\nimport gc; print(gc.get_threshold()[0])")[-1] == "50000"
