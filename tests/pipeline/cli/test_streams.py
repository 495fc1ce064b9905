"""Commands whose stdout and stderr are closed, full, left by their reader, or not for any text."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.serving_dir import live, publish, rollback, versions
from tests.components.serving_dir.samples import letter_model, publish_letters

pytestmark = pytest.mark.once  # what the shell gives us, and what we make of it

FULL = ">/dev/full"
CLOSED = ">&-"
LEFT = "| head -c 0"
PROGRAM = [sys.executable, "-m", "pipeline.cli"]
# A run, but for the run: a library that prints, a note of the training, and the outcome.
RUN = """
import os, sys
from pipeline.cli.main import main
from pipeline.result import RunResult, RELEASED
def run(config, *, run_id, observer):
    opened = open(os.path.join(config.pipeline_root, "data"), "w")
    print("a library prints", flush=True)
    os.write(2, b"C++ writes" + os.linesep.encode())
    observer.planned(["Trainer"])
    observer.component_started("Trainer")
    observer.note("caf\\u00e9 \\udcff")
    observer.component_finished("Trainer", 1.0, cached=False)
    assert os.path.getsize(opened.fileno()) == 0
    return RunResult(run_id, RELEASED, dataset={"name": "caf\\u00e9 \\udcff", "digest": "0"})
sys.exit(main(["run", "--pipeline-root", *sys.argv[1:]], run=run))
"""


def shell(
    words: list[str], redirections: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The program by bash, which gives its exit code, not `head`'s."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirections}; exit ${{PIPESTATUS[0]}}', "bash", *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("json_", [[], ["--json"]])
@pytest.mark.parametrize("where", [FULL, CLOSED, LEFT])
def test_a_rollback_that_was_done_ends_with_0(json_: list[str], where: str, serving: Path) -> None:
    done = shell(
        [*PROGRAM, "rollback", "--reason", "r", "--serving-dir", str(serving), *json_], where
    )
    assert done.returncode == 0
    assert live(serving).number == 4
    reasons = {FULL: "No space left on device", CLOSED: "Bad file descriptor"}
    assert done.stderr == (
        ""
        if where == LEFT
        else f"tfx-mnist: cannot write to stdout: {reasons[where]}; what was asked for is done all "
        "the same\n"
    )


@pytest.mark.parametrize("where", [f"{FULL} 2>&1", f"{CLOSED} 2>&-", "<&- >&- 2>&-"])
def test_with_nowhere_to_write_at_all_the_exit_code_is_the_same(where: str, serving: Path) -> None:
    words = [*PROGRAM, "rollback", "--reason", "r", "--serving-dir", str(serving)]
    done = shell(words, where)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shell([*words, "9"], where).returncode == 1
    assert shell([*words, "--raeson", "x"], where).returncode == 2
    assert [version.number for version in versions(serving)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        *((["versions"], where) for where in (FULL, CLOSED, LEFT)),
        *((["versions", "--json"], where) for where in (FULL, LEFT)),
        (["prune", "--keep", "1", "--dry-run"], FULL),
        *((["--help"], where) for where in (CLOSED, LEFT)),
        (["--version"], FULL),
    ],
)
def test_what_only_shows_something_fails_when_that_is_lost(
    words: list[str], where: str, serving: Path
) -> None:
    options = [] if words[0].startswith("--") else ["--serving-dir", str(serving)]
    done = shell([*PROGRAM, *words, *options], where)
    assert done.returncode == (0 if where == LEFT else 1)
    assert done.stderr.count("\n") == done.returncode
    assert not re.search("Traceback|is done all the same", done.stderr)


def test_what_does_something_or_decides_says_so_by_its_exit_code(serving: Path) -> None:
    options = ["--serving-dir", str(serving)]
    assert shell([*PROGRAM, "verify", *options], FULL).returncode == 0
    assert shell([*PROGRAM, "prune", "--keep", "2", *options], FULL).returncode == 0
    assert [version.number for version in versions(serving)] == [2, 3]
    (serving / "3" / "saved_model.pb").write_bytes(b"changed")
    assert shell([*PROGRAM, "verify", *options], FULL).returncode == 1


@pytest.mark.parametrize(
    ("options", "where"),
    [
        *(([], where) for where in ("", FULL, CLOSED, LEFT, "2>&-", "<&- >&- 2>&-")),
        *((["--json"], FULL), (["-v"], f"{FULL} 2>&1"), (["-v"], "2>&-")),
    ],
)
def test_a_run_that_released_ends_with_0(options: list[str], where: str, tmp_path: Path) -> None:
    done = shell([sys.executable, "-c", RUN, str(tmp_path / "root"), *options], where)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    (log,) = (tmp_path / "root" / "logs").iterdir()
    assert "a library prints" in log.read_text()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", rb"caf\xe9 \udcff"),
        ("latin-1", b"caf\xe9 \\udcff"),
        ("utf-8", b"caf\xc3\xa9 \\udcff"),
    ],
)
def test_a_character_that_the_encoding_does_not_have_is_an_escape(
    encoding: str, shown: bytes, tmp_path: Path
) -> None:
    serving = tmp_path / os.fsdecode(b"caf\xc3\xa9 \xff")
    publish_letters(serving, "a")
    words = [*PROGRAM, "versions", "--serving-dir", str(serving)]
    done = shell(words, "", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in os.fsencode(done.stdout)
    ran = shell([sys.executable, "-c", RUN, str(tmp_path / "r")], "", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert b"data: " + shown in os.fsencode(ran.stdout)


def test_json_is_the_same_in_every_encoding(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xc3\xa9 \xff")
    publish_letters(path, "a")
    words = [*PROGRAM, "versions", "--json", "--serving-dir", str(path)]
    said = [shell(words, "", PYTHONIOENCODING=encoding).stdout for encoding in ("ascii", "utf-8")]
    assert said[0] == said[1]
    assert json.loads(said[0])["serving_dir"] == f"{tmp_path}/caf\xe9 \\udcff"


def test_a_pipe_that_is_full_and_does_not_wait_loses_nothing(serving: Path) -> None:
    for _ in range(3):
        publish(letter_model(serving.parent, "x"), serving, {"run_id": "9" * 70_000})
        rollback(serving)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    words = [*PROGRAM, "versions", "--json", "--serving-dir", str(serving)]
    with subprocess.Popen(words, stdout=write_end, stderr=subprocess.PIPE) as process:
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            said = json.loads(pipe.read())
        assert process.wait(300) == 0
    assert len(said["versions"]) == len(versions(serving))
