"""Hooks with real commands."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import ConfigError, HooksConfig
from pipeline.hooks import Told, require_programs, tell
from tests.refusals import refusal_of
from tests.waiting import is_running, wait_until

PYTHON = sys.executable


def hooks(code: str, **settings: float) -> HooksConfig:
    return HooksConfig(released=(PYTHON, "-c", code), **settings)


def test_a_hook_reads_the_object_and_its_name() -> None:
    code = "import os, sys; print(os.environ['TFX_MNIST_HOOK'], sys.stdin.read())"
    told = tell(hooks(code), "released", {"release": {"version": 3}, "loss": float("nan")})
    assert told.complaint == ""
    name, _, given = told.output.partition(" ")
    assert (name, json.loads(given)) == (
        "released",
        {"release": {"version": 3}, "loss": None},
    )


@pytest.mark.parametrize("event", ["refused", "unchanged"])
def test_an_event_without_a_command_tells_nobody(event: str) -> None:
    assert tell(hooks("raise SystemExit(1)"), event, {}) == Told()


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('no\\nroute'); raise SystemExit(7)", "failed with exit status 7: route"),
        ("raise SystemExit(7)", "failed with exit status 7"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_failed_command_is_one_line(code: str, line: str) -> None:
    told = tell(hooks(code), "released", {})
    assert told.complaint == f"the hook hooks.released ('{PYTHON}') {line}; the outcome stands"


def test_a_command_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "script").touch()
    told = tell(HooksConfig(failed=(str(tmp_path / "script"),)), "failed", {})
    assert told.complaint.endswith("cannot be run: Permission denied; the outcome stands")


def test_after_the_time_limit_a_command_and_its_children_are_killed(tmp_path: Path) -> None:
    started = time.monotonic()
    # A shell starts at once, also where a Python would take more than the limit.
    code = 'sleep 60 & echo $! > "$0"; echo waiting; wait'
    command = ("sh", "-c", code, str(tmp_path / "pid"))
    told = tell(HooksConfig(released=command, timeout_s=2.0), "released", {})
    assert "was killed after 2 s (hooks.timeout_s): waiting" in told.complaint
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(child))
    assert time.monotonic() - started < 60


def test_a_child_that_keeps_the_output_open_delays_nobody() -> None:
    started = time.monotonic()
    told = tell(hooks("import subprocess; subprocess.Popen(['sleep', '60'])"), "released", {})
    assert told == ("", "")
    assert time.monotonic() - started < 60


def test_a_command_that_does_not_read_a_large_object_succeeds() -> None:
    told = tell(hooks("pass"), "released", {"checks": ["x" * 1000] * 1000})
    assert told == ("", "")


def test_only_the_end_of_much_output_is_kept() -> None:
    told = tell(hooks("print('x' * 200_000 + 'end')"), "released", {})
    assert told.output.endswith("xend")
    assert len(told.output) == (64 << 10) - 1  # the newline is stripped


def test_no_shell_reads_the_words() -> None:
    told = tell(HooksConfig(released=("echo", "$HOME", "`id`", ";", "id")), "released", {})
    assert told.output == "$HOME `id` ; id"


def test_a_program_that_does_not_exist_is_refused() -> None:
    assert refusal_of(
        ConfigError, require_programs, HooksConfig(refused=("notify-nobody", "now"))
    ) == (
        "hooks.refused begins with 'notify-nobody', expected a program on the PATH or the path of "
        "an executable file"
    )
    require_programs(HooksConfig(refused=("echo",), failed=(PYTHON,)))


def test_the_environment_reaches_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CHAT_WEBHOOK", "http://localhost/x")
    told = tell(HooksConfig(released=("printenv", "CHAT_WEBHOOK")), "released", {})
    assert told.output == "http://localhost/x"
