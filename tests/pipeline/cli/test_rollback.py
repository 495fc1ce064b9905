import json
import signal
from pathlib import Path

import pytest

from components.serving_dir import MANIFEST_NAME, digest_of, live, versions
from components.serving_dir.changing import locked
from pipeline.cli.main import main
from tests.components.serving_dir.samples import damage, letter_model, letters_in
from tests.pipeline.cli.processes import process, script, start
from tests.waiting import wait_until

Captured = pytest.CaptureFixture[str]


def test_the_version_before_becomes_live(serving: Path, capfd: Captured) -> None:
    words = ["rollback", "--serving-dir", str(serving), "--reason", "too many sevens"]
    assert main(words) == 0
    assert capfd.readouterr() == (
        f"live: version 4 in {serving}/4, which restores 2\nwithdrawn: version 3\n",
        "",
    )
    assert letters_in(serving)[4] == "b"
    assert versions(serving)[2].withdrawn.reason == "too many sevens"


def test_a_model_whose_manifest_cannot_be_read_is_said_not_to_be_withdrawn(
    serving: Path, capfd: Captured
) -> None:
    (serving / "3" / MANIFEST_NAME).write_text("{")
    assert main(["rollback", "--serving-dir", str(serving), "--reason", "r"]) == 0
    assert capfd.readouterr().out.splitlines()[1] == (
        "withdrawn: version 3, but not its model, since its manifest cannot be read: a run may "
        "release it again"
    )


def test_a_given_version_becomes_live(serving: Path, capfd: Captured) -> None:
    assert main(["rollback", "--reason", "r", "1", "--serving-dir", str(serving), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "serving_dir": str(serving),
        "version": 4,
        "path": str(serving / "4"),
        "model_digest": digest_of(letter_model(serving.parent, "a")),
        "restores": 1,
        "withdraws": 3,
        "reason": "r",
        "error": None,
    }


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["9"], 1, "there is no version 9 in SERVING: known are 1, 2, 3"),
        (["3"], 1, "cannot roll back to version 3 in SERVING: it is live already; choose another"),
        (
            ["1"],
            1,
            "cannot roll back to version 1 in SERVING: it is damaged: file 'saved_model.pb'",
        ),
        (["--reason", " "], 2, "--reason is ' ', expected some text; see"),
        (["new"], 2, "VERSION is 'new', expected a whole number, 0 or more; see"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], code: int, line: str, serving: Path, capfd: Captured
) -> None:
    damage(serving, 1)
    assert (
        main(["rollback", "--reason", "r", *words, "--serving-dir", str(serving), "--json"]) == code
    )
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert error.startswith(line.replace("SERVING", str(serving)))
    assert shown.err == f"tfx-mnist: {error}\n"
    assert live(serving).number == 3


def test_which_version_is_not_chosen_by_a_log_that_cannot_be_read(serving: Path) -> None:
    (serving / ".decisions.jsonl").write_text("no JSON\n")
    done = process(["rollback", "--reason", "r", "--serving-dir", str(serving)])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"tfx-mnist: cannot choose the version to restore in {serving}: line 1 of "
        f"{serving}/.decisions.jsonl is damaged (Expecting value: line 1 column 1 (char 0)): "
        "restore the file, or remove that line, which forgets one decision, withdrawn or rejected "
        "model, or approval; or name the version\n"
    )
    assert live(serving).number == 3


@pytest.mark.parametrize(
    ("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_signal_that_comes_when_it_is_done_does_not_hide_that(
    name: str, code: int, word: str, serving: Path
) -> None:
    done = script(
        """
        import os, signal, sys
        from pipeline.cli.main import main
        rename = os.rename
        def renames(source, target):
            rename(source, target)
            os.kill(os.getpid(), signal.Signals[sys.argv[2]])
        os.rename = renames
        sys.exit(main(["rollback", "--reason", "r", "--serving-dir", sys.argv[1]]))
        """,
        str(serving),
        name,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == (
        f"tfx-mnist: rolled back before that: version 4 in {serving}/4 is live\ntfx-mnist: {word}\n"
    )
    assert live(serving).number == 4


def test_ctrl_c_while_it_waits_is_one_line_and_130(serving: Path) -> None:
    with locked(serving):
        process = start(["rollback", "--reason", "r", "--serving-dir", str(serving)])
        lock = str((serving / ".publish.lock").resolve())
        descriptors = Path(f"/proc/{process.pid}/fd")
        wait_until(lambda: any(str(fd.resolve()) == lock for fd in descriptors.iterdir()))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (130, "", "tfx-mnist: interrupted\n")
