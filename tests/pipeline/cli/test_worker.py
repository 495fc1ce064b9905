"""`tfx-mnist worker` before anything is trained; tests/trainer/test_workers.py trains."""

import json
import subprocess
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.pipeline.cli.processes import process, start
from trainer.job import Job

MACHINES = ["127.0.0.1:1", "127.0.0.1:2"]


def as_number(index: int) -> str:
    return json.dumps({"cluster": {"worker": MACHINES}, "task": {"type": "worker", "index": index}})


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("", "TF_CONFIG names no cluster of several machines"),
        ("{", "TF_CONFIG is '{'"),
        (as_number(0), "this machine is number 0 of TF_CONFIG, the chief, expected 1 or more"),
    ],
)
def test_a_machine_that_is_no_worker_is_refused(variable, line, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", variable)
    assert main(["worker"]) == 2
    assert line in capsys.readouterr().err


def test_a_chief_that_does_not_come_is_a_failure(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TF_CONFIG", as_number(1))
    assert main(["worker", "--wait", "0", "--json", "--pipeline-root", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    file = tmp_path / "training-job.json"
    assert captured.err.splitlines()[0] == f"waiting up to 0 s for the chief's training: {file}"
    assert f"there is no {file} after 0 s: start the chief" in json.loads(captured.out)["error"]


SEARCH = {
    "KERASTUNER_TUNER_ID": "tuner0",
    "KERASTUNER_ORACLE_IP": "127.0.0.1",
    "KERASTUNER_ORACLE_PORT": "1",
}


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"KERASTUNER_ORACLE_PORT": ""}, "KERASTUNER_ORACLE_PORT not set: set what"),
        (
            {"KERASTUNER_ORACLE_PORT": "8e3"},
            "KERASTUNER_ORACLE_PORT is '8e3', expected a port, 1 to",
        ),
        ({"KERASTUNER_ORACLE_PORT": "65536"}, "KERASTUNER_ORACLE_PORT is '65536', expected a port"),
        (
            {"KERASTUNER_TUNER_ID": "chief"},
            "KERASTUNER_TUNER_ID is 'chief', that of a chief, expected another name;",
        ),
        ({}, "there is no file job.json, expected the job file that the chief names"),
    ],
)
def test_what_makes_no_worker_of_a_search_is_refused(
    variables, line, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name, value in {**SEARCH, **variables}.items():
        monkeypatch.setenv(name, value)
    assert main(["worker", "--search", "job.json"]) == 2
    assert capsys.readouterr().err.startswith(f"tfx-mnist: {line}")


@pytest.mark.parametrize("text", ["junk", "{}", "7"])
def test_a_file_that_is_no_job_is_refused(text, monkeypatch, capsys, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(text)
    for name, value in SEARCH.items():
        monkeypatch.setenv(name, value)
    assert main(["worker", "--search", str(file)]) == 2
    line = f"tfx-mnist: {file} is no job file, expected the one that the chief names\n"
    assert capsys.readouterr().err == line


def search_worker(tmp_path: Path, tensorflow: str) -> tuple[list[str], dict[str, str]]:
    """Words and variables of a worker whose process ends or stays in what TensorFlow stands for."""
    Job([], [], "", {}).write(tmp_path / "job.json")
    (tmp_path / "tensorflow.py").write_text(tensorflow)
    words = ["worker", "--json", "--search", str(tmp_path / "job.json")]
    return words, {**SEARCH, "PYTHONPATH": str(tmp_path)}


def test_a_worker_of_a_search_ends_when_the_search_does(tmp_path):
    done = process(*search_worker(tmp_path, "print('a library prints', flush=True); exit()"))
    assert (done.returncode, done.stderr) == (0, "a library prints\n")
    job = str(tmp_path / "job.json")
    assert json.loads(done.stdout) == {"worker": "tuner0", "search": job, "error": None}


def test_a_worker_of_a_search_that_dies_is_a_failure(tmp_path):
    done = process(*search_worker(tmp_path, "exit(7)"))
    line = "the worker ended with code 7: see the log; the same command goes on with the trials"
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith(line)
    assert done.stderr.startswith(f"tfx-mnist: {line}")


def assert_ends_when_terminated(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    out, err = worker.communicate(timeout=300)
    line = "terminated; the same command goes on after the last finished epoch"
    assert (worker.returncode, err) == (143, f"tfx-mnist: {line}\n")
    assert json.loads(out) == {"error": line}


def test_a_terminated_worker_of_a_search_ends_with_143_and_its_process_with_it(tmp_path):
    words, variables = search_worker(
        tmp_path, "import time; print('begun', flush=True); time.sleep(600)"
    )
    with start(words, variables) as worker:
        assert worker.stderr.readline() == "begun\n"
        # The process that trains holds stderr as well.
        assert_ends_when_terminated(worker)


def test_a_terminated_worker_says_so_in_one_line_and_ends_with_143(tmp_path):
    words = ["worker", "--json", "--pipeline-root", str(tmp_path)]
    with start(words, {"TF_CONFIG": as_number(1)}) as worker:
        assert worker.stderr.readline().startswith("waiting up to 3600 s for the chief")
        assert_ends_when_terminated(worker)
