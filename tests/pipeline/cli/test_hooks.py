"""`run`, `rollback` and `approve` with hooks, which are real commands."""

import json
import signal
import sys
from pathlib import Path

import pytest

from components.gate.check import Check
from pipeline.cli.main import main
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, Release
from pipeline.runners.failures import CannotStart
from tests.components.serving_dir.samples import hold_letter, publish_letters
from tests.pipeline.cli.processes import raiser, runner, script

Captured = pytest.CaptureFixture[str]


def saver(path: Path) -> str:
    """A command that keeps what it is told, and says a word."""
    code = f"import sys; open({str(path)!r}, 'w').write(sys.stdin.read()); print('kept')"
    return f'"{sys.executable}" -c "{code}"'


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told.json"


@pytest.fixture
def words(root: Path, told: Path) -> list[str]:
    events = ("released", "refused", "failed")
    sets = [f"--set=hooks.{event}={saver(told.with_name(event))}" for event in events]
    return ["run", "--pipeline-root", str(root), *sets]


@pytest.mark.parametrize(("outcome", "code"), [(RELEASED, 0), (REFUSED, 3), (FAILED, 1)])
def test_the_hook_of_the_outcome_gets_what_json_prints(
    outcome: str, code: int, words: list[str], told: Path, root: Path, capfd: Captured
) -> None:
    check = Check("accuracy", False, 0.9, 0.96, "accuracy is 0.9000, required is 0.9600")
    error = "no luck" if outcome == FAILED else None
    run = runner(outcome, release=Release(2, "serving/2"), checks=(check,), error=error)
    assert main([*words, "--json"], run=run) == code
    shown = json.loads(capfd.readouterr().out)
    assert [file.name for file in told.parent.iterdir() if file.is_file()] == [outcome]
    assert json.loads(told.with_name(outcome).read_text()) == shown
    assert shown["report"] is not None  # all is written before the hook is told
    (log,) = (root / "logs").iterdir()
    assert log.read_text().endswith(f"hooks.{outcome}: kept\n")


def test_a_run_that_failed_after_its_release_tells_the_hook_of_releases(
    words: list[str], told: Path, capfd: Captured
) -> None:
    error = "after version 2 was released in serving/2: Pusher: no luck"
    run = runner(RELEASED, release=Release(2, "serving/2"), error=error)
    assert main(words, run=run) == 1
    assert [file.name for file in told.parent.iterdir() if file.is_file()] == ["released"]
    given = json.loads(told.with_name("released").read_text())
    assert (given["error"], given["release"]["version"]) == (error, 2)
    shown = capfd.readouterr()
    assert (shown.out, shown.err.count(f"failed: {error}\n")) == ("", 1)
    assert "log: " in shown.err


def test_an_unchanged_model_tells_no_hook(words: list[str], told: Path) -> None:
    assert main(words, run=runner(UNCHANGED)) == 0
    assert [file for file in told.parent.iterdir() if file.is_file()] == []


@pytest.mark.parametrize(("outcome", "code"), [(RELEASED, 0), (REFUSED, 3), (FAILED, 1)])
def test_a_failing_hook_changes_no_exit_code_and_is_one_line(
    outcome: str, code: int, root: Path, capfd: Captured
) -> None:
    command = f"--set=hooks.{outcome}=sh -c 'echo no route >&2; exit 5'"
    words = ["run", "--pipeline-root", str(root), "--json", command]
    assert main(words, run=runner(outcome)) == code
    shown = capfd.readouterr()
    assert json.loads(shown.out)["outcome"] == outcome
    assert (
        f"tfx-mnist: the hook hooks.{outcome} ('sh') failed with exit status 5: no route; the "
        "outcome stands\n"
    ) in shown.err


def test_a_run_that_cannot_start_tells_the_hook_of_failures(
    words: list[str], told: Path, root: Path, capfd: Captured
) -> None:
    assert main(words, run=raiser(CannotStart("another run holds the root", 1))) == 1
    given = json.loads(told.with_name("failed").read_text())
    assert (given["outcome"], given["error"]) == ("failed", "another run holds the root")
    assert capfd.readouterr().err.splitlines() == [
        "hooks.failed: kept",
        "tfx-mnist: another run holds the root",
    ]
    assert not root.exists()


def test_a_program_that_does_not_exist_is_refused_before_the_run(
    root: Path, capfd: Captured
) -> None:
    words = ["run", "--pipeline-root", str(root), "--set", "hooks.failed=notify-nobody now"]
    assert main(words, run=runner()) == 2
    assert capfd.readouterr().err.startswith("tfx-mnist: hooks.failed begins with 'notify-nobody'")
    assert not root.exists()


def test_a_signal_while_a_hook_runs_ends_both(root: Path, tmp_path: Path) -> None:
    code = f"""
    import os, sys
    from pipeline.cli.main import main
    from pipeline.result import RELEASED, Release, RunResult
    def run(config, *, run_id, observer):
        return RunResult(run_id, RELEASED, release=Release(2, "serving/2"))
    hook = f"sh -c 'echo $$ > {tmp_path}/pid; sleep 1; kill -TERM {{os.getpid()}}; sleep 60'"
    words = ["--pipeline-root", sys.argv[1], "--set", f"hooks.released={{hook}}"]
    sys.exit(main(["run", "--json", *words], run=run))
    """
    done = script(code, str(root))
    assert done.returncode == 128 + signal.SIGTERM
    assert json.loads(done.stdout)["outcome"] == "released"
    assert "terminated after version 2 was released" in done.stderr
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


class TestRollback:
    @pytest.fixture
    def serving(self, tmp_path: Path) -> Path:
        publish_letters(tmp_path / "serving", "ab")
        return tmp_path / "serving"

    def config(self, serving: Path, command: str) -> str:
        file = serving.with_name("run.json")
        file.write_text(
            json.dumps({"serving_dir": str(serving), "hooks": {"rolled_back": command}})
        )
        return str(file)

    def test_it_tells_its_hook(self, serving: Path, told: Path, capfd: Captured) -> None:
        config = self.config(serving, saver(told))
        assert main(["rollback", "--config", config, "--reason", "sevens", "--json"]) == 0
        shown = capfd.readouterr()
        assert json.loads(told.read_text()) == json.loads(shown.out)
        assert json.loads(shown.out)["restores"] == 1
        assert shown.err == "hooks.rolled_back: kept\n"

    def test_a_failing_hook_leaves_it_done(self, serving: Path, capfd: Captured) -> None:
        assert main(["rollback", "--config", self.config(serving, "false"), "--reason", "r"]) == 0
        shown = capfd.readouterr()
        assert shown.out.startswith(f"live: version 3 in {serving}/3")
        assert shown.err == (
            "tfx-mnist: the hook hooks.rolled_back ('false') failed with exit status 1; the "
            "outcome stands\n"
        )

    def test_a_rollback_that_fails_tells_nobody(self, serving: Path, told: Path) -> None:
        config = self.config(serving, saver(told))
        assert main(["rollback", "9", "--config", config, "--reason", "r"]) == 1
        assert not told.exists()

    def test_a_flag_stands_above_the_files_directory(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        publish_letters(tmp_path / "other", "ab")
        config = self.config(serving, "true")
        where = ["--config", config, "--serving-dir", str(tmp_path / "other")]
        assert main(["rollback", "--reason", "r", *where]) == 0
        assert capfd.readouterr().out.startswith(f"live: version 3 in {tmp_path}/other/3")

    def test_a_wrong_file_changes_nothing(self, serving: Path, capfd: Captured) -> None:
        config = self.config(serving, "notify-nobody")
        assert main(["rollback", "--config", config, "--reason", "r"]) == 2
        assert "hooks.rolled_back begins with 'notify-nobody'" in capfd.readouterr().err
        assert not (serving / "3").exists()


class TestApproval:
    @pytest.fixture
    def words(self, tmp_path: Path, told: Path) -> list[str]:
        serving, file = tmp_path / "serving", tmp_path / "run.json"
        hold_letter(serving, "a", metrics={"accuracy": 0.99})
        section = {"released": saver(told)}
        file.write_text(json.dumps({"serving_dir": str(serving), "hooks": section}))
        return ["approve", "r1", "--by", "Ann", "--reason", "r", "--config", str(file), "--json"]

    def test_it_tells_the_hook_of_releases_once(
        self, words: list[str], told: Path, capfd: Captured
    ) -> None:
        assert main(words) == 0
        shown = capfd.readouterr()
        assert json.loads(told.read_text()) == json.loads(shown.out)
        assert json.loads(shown.out)["release"]["version"] == 1
        assert shown.err == "hooks.released: kept\n"
        told.unlink()
        assert main(words) == 0  # unchanged
        assert not told.exists()

    def test_a_program_that_is_missing_is_refused_before(
        self, words: list[str], tmp_path: Path, capfd: Captured
    ) -> None:
        section = {"released": "notify-nobody"}
        (tmp_path / "run.json").write_text(
            json.dumps({"serving_dir": str(tmp_path / "serving"), "hooks": section})
        )
        assert main(words) == 2
        assert "hooks.released begins with 'notify-nobody'" in capfd.readouterr().err
        assert not (tmp_path / "serving" / "1").exists()
