import json
from pathlib import Path

import pytest

from components.serving_dir import LOG_NAME, rollback
from pipeline.cli.main import main
from tests.components.serving_dir.samples import numbers, publish_letters
from tests.pipeline.cli.processes import process

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    publish_letters(tmp_path / "serving", "abcd")
    return tmp_path / "serving"


def _bytes(version: Path) -> int:
    return sum(path.stat().st_size for path in version.iterdir())


def test_old_versions_go(serving: Path, capfd: Captured) -> None:
    size = _bytes(serving / "1")
    assert main(["prune", "--keep", "3", "--serving-dir", str(serving)]) == 0
    assert capfd.readouterr() == (
        f"removed: version 1 in {serving}/1, {size} bytes\nfreed: {size} bytes\n",
        "",
    )
    assert numbers(serving) == [2, 3, 4]


def test_a_dry_run_says_what_would_go(serving: Path, capfd: Captured) -> None:
    size = _bytes(serving / "1")
    assert main(["prune", "--keep", "3", "--dry-run", "--serving-dir", str(serving)]) == 0
    assert capfd.readouterr().out == (
        f"would remove: version 1 in {serving}/1, {size} bytes\nwould free: {size} bytes\n"
    )
    assert numbers(serving) == [1, 2, 3, 4]


def test_json_names_what_went_and_what_was_left_alone(serving: Path, capfd: Captured) -> None:
    (serving / "7").mkdir()
    sizes = [_bytes(serving / name) for name in ("1", "2", "4")]
    rollback(serving, 4)
    assert main(["prune", "--keep", "1", "--serving-dir", str(serving), "--json"]) == 0
    fields = json.loads(capfd.readouterr().out)
    assert fields == {
        "serving_dir": str(serving),
        "dry_run": False,
        "removed": [
            {"version": 1, "path": str(serving / "1"), "bytes": sizes[0]},
            {"version": 2, "path": str(serving / "2"), "bytes": sizes[1]},
            {"version": 4, "path": str(serving / "4"), "bytes": sizes[2]},
        ],
        "bytes": sum(sizes),
        "left_alone": [
            {
                "path": str(serving / "7"),
                "problems": ["has no manifest.json: not published by this tool"],
            }
        ],
        "error": None,
    }


def test_what_another_tool_made_is_named(serving: Path, capfd: Captured) -> None:
    (serving / "0").mkdir()
    assert main(["prune", "--keep", "9", "--serving-dir", str(serving)]) == 0
    assert capfd.readouterr().out == (
        "nothing to remove\n"
        f"left alone: {serving}/0 has no manifest.json: not published by this tool\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--keep is missing; see tfx-mnist prune --help"),
        (["--keep", "0"], "--keep is '0', expected a whole number, 1 or more; see"),
        (["--keep", "some"], "--keep is 'some', expected a whole number, 1 or more; see"),
        (["--keep", "1", "2"], "unexpected argument '2': values follow an option; see"),
    ],
)
def test_words_that_make_no_sense_end_with_2(
    words: list[str], line: str, serving: Path, capfd: Captured
) -> None:
    assert main(["prune", *words, "--serving-dir", str(serving)]) == 2
    assert capfd.readouterr().err.startswith(f"tfx-mnist: {line}")
    assert numbers(serving) == [1, 2, 3, 4]


def test_a_damaged_log_refuses_it_in_one_line(serving: Path) -> None:
    (serving / LOG_NAME).write_text("damaged\n")
    # Its own process: pytest handles the log's warnings, which nobody else does.
    done = process(["prune", "--keep", "1", "--serving-dir", str(serving)])
    assert done.returncode == 1
    assert done.stderr.startswith(f"tfx-mnist: line 1 of {serving / LOG_NAME} is damaged")
    assert done.stderr.count("\n") == 1
