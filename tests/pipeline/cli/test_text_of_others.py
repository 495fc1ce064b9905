"""What others wrote, such as a manifest or the name of a file, and how the commands show it."""

import json
from pathlib import Path

import pytest

from components.serving_dir import publish
from pipeline.cli.main import main
from tests.components.serving_dir.samples import letter_model
from tests.pipeline.cli.processes import process

# Clears the screen, begins a line, turns the writing around, ends a C string, moves the cursor.
FOUL = "up\x1b[2J\r\nlive: version 9 \u202e\x00\x9b1A"
SHOWN = r"up\x1b[2J\r\nlive: version 9 \u202e\x00\x9b1A"
FOUL_NAME = FOUL.replace("\x00", "")  # no file name holds a zero


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Two versions of foul origin, in a directory of a foul name."""
    serving = tmp_path / f"serving {FOUL_NAME}"
    release = {"run_id": FOUL, "dataset": {"name": FOUL}}
    for letter in "ab":
        model = letter_model(tmp_path, letter)
        (model / FOUL_NAME).write_bytes(b"a file")
        publish(model, serving, release)
    return serving


def _said(words: list[str], code: int, capfd: pytest.CaptureFixture[str]) -> str:
    assert main(words) == code
    said = "".join(capfd.readouterr())
    assert [one for one in said if not one.isprintable() and one != "\n"] == []
    assert [line for line in said.splitlines() if line.startswith("live: version 9")] == []
    return said


def test_no_command_shows_them_raw(serving: Path, capfd: pytest.CaptureFixture[str]) -> None:
    where = ["--serving-dir", str(serving)]
    assert _said(["rollback", *where, "--reason", FOUL_NAME], 0, capfd).count("\n") == 2
    said = _said(["versions", *where], 0, capfd)
    assert said.count("\n") == 5
    assert said.count(SHOWN) >= 2 * 3  # run and data set of each version
    (serving / "1" / FOUL_NAME).write_bytes(b"changed")
    (serving / "7").mkdir()
    assert _said(["verify", *where], 1, capfd).count("\n") == 8
    _said(["prune", *where, "--keep", "1"], 0, capfd)
    _said(["rollback", "--reason", "r", *where, "1"], 1, capfd)
    _said(["versions", "--serving-dir", FOUL_NAME], 2, capfd)
    _said([FOUL_NAME], 2, capfd)
    _said(["run", "--set", f"{FOUL_NAME}=1"], 2, capfd)


def test_json_has_them_as_they_are(serving: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "--json", "--serving-dir", str(serving)]) == 0
    said = capfd.readouterr().out
    fields = json.loads(said)
    assert said.count("\n") == 1
    assert fields["serving_dir"] == str(serving)
    assert fields["versions"][0]["run_id"] == FOUL


def test_a_warning_is_a_line_like_any_other(tmp_path: Path) -> None:
    serving = tmp_path / f"serving {FOUL_NAME}"
    publish(letter_model(tmp_path, "a"), serving, {})
    publish(letter_model(tmp_path, "b"), serving, {})
    (serving / ".decisions.jsonl").write_text("no JSON\n")
    # By processes, since pytest handles our logs itself. The log is read five times or so.
    done = process(["rollback", "--reason", "r", "1", "--serving-dir", str(serving)])
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    done = process(["versions", "--serving-dir", str(serving)])
    assert done.returncode == 0
    assert done.stderr.startswith(f"tfx-mnist: line 1 of {tmp_path}/serving up\\x1b[2J\\r\\nlive")
    assert done.stderr.count("\n") == 1
