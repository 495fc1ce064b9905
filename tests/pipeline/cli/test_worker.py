"""`tfx-mnist worker` before anything is trained; tests/trainer/test_workers.py trains."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.main import main

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
    assert "training-job.json after 0 s: start the chief" in json.loads(captured.out)["error"]


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)[1], base=16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_terminated_worker_says_so_in_one_line_and_ends_with_143(tmp_path):
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pipeline.cli",
            "worker",
            "--json",
            "--pipeline-root",
            str(tmp_path),
        ],
        env={**os.environ, "TF_CONFIG": as_number(1)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        end = time.monotonic() + 30
        while not catches_sigterm(worker.pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        worker.terminate()
        out, err = worker.communicate(timeout=60)
    line = "terminated; the same command goes on after the last finished epoch"
    assert (worker.returncode, err) == (143, f"tfx-mnist: {line}\n")
    assert json.loads(out) == {"error": line}
