"""`run` in this process with a runner of the test's, and real processes where needed."""

import dataclasses
import datetime
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.gate.check import Check
from components.pictures import LABEL_ERRORS, Pictures
from pipeline.cli.main import main
from pipeline.config import RunConfig
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, ExitCode, Release, RunResult
from pipeline.runners.failures import CannotStart
from tests.pipeline.cli.processes import raiser, runner, script
from tests.pipeline.report.runs import picture

Captured = pytest.CaptureFixture[str]


class TestRunId:
    def test_the_runner_gets_it_and_the_log_is_named_by_it(self, root: Path) -> None:
        seen = []

        def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
            seen.append(run_id)
            return RunResult(run_id, RELEASED)

        before = datetime.datetime.now(datetime.timezone.utc)
        main(["run", "--pipeline-root", str(root)], run=run)
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", seen[0])
        assert f"{before:%Y%m%dT%H%M%SZ}" <= seen[0] < f"{before:%Y}9"
        assert [file.name for file in (root / "logs").iterdir()] == [f"{seen[0]}.log"]


class TestOutcome:
    @pytest.mark.parametrize(
        ("outcome", "code"), [(RELEASED, 0), (UNCHANGED, 0), (FAILED, 1), (REFUSED, 3)]
    )
    def test_the_exit_code_follows_the_outcome(self, outcome: str, code: int, root: Path) -> None:
        assert main(["run", "--pipeline-root", str(root)], run=runner(outcome)) == code

    def test_bad_data_found_on_the_way_is_a_users_error(self, root: Path) -> None:
        run = runner(FAILED, error="ExampleGen: no image of class 2", bad_data=True)
        assert main(["run", "--pipeline-root", str(root)], run=run) == 2

    def test_the_summary_is_on_stdout(self, root: Path, capfd: Captured) -> None:
        run = runner(RELEASED, release=Release(2, "serving/2"))
        main(["run", "--pipeline-root", str(root)], run=run)
        shown = capfd.readouterr()
        assert "released: version 2 in serving/2\n" in shown.out
        assert shown.err == ""

    def test_a_refusal_says_which_check_failed(self, root: Path, capfd: Captured) -> None:
        check = Check("accuracy", False, 0.9, 0.96, "accuracy is 0.9000, required is 0.9600")
        main(["run", "--pipeline-root", str(root)], run=runner(REFUSED, checks=(check,)))
        shown = capfd.readouterr().out
        assert "failed: accuracy is 0.9000, required is 0.9600\n" in shown
        assert f"log: {root}/logs/" in shown

    def test_a_failure_is_on_stderr_with_its_log(self, root: Path, capfd: Captured) -> None:
        run = runner(FAILED, error="Trainer: loss is nan")
        main(["run", "--pipeline-root", str(root)], run=run)
        shown = capfd.readouterr()
        assert shown.out == ""
        assert "failed: Trainer: loss is nan\n" in shown.err
        assert f"log: {root}/logs/" in shown.err

    def test_an_unexpected_error_is_one_line_and_its_traceback_is_in_the_log(
        self, root: Path, capfd: Captured
    ) -> None:
        code = main(["run", "--pipeline-root", str(root)], run=raiser(ValueError("no\nway")))
        assert code == 1
        shown = capfd.readouterr()
        assert "failed: ValueError: no way\n" in shown.err
        assert "Traceback" not in shown.err
        (log,) = (root / "logs").iterdir()
        assert "Traceback (most recent call last)" in log.read_text()

    def test_a_library_that_exits_does_not_end_it_well(self, root: Path) -> None:
        with pytest.raises(SystemExit):
            main(["run", "--pipeline-root", str(root)], run=raiser(SystemExit(5)))


class TestReport:
    @pytest.mark.parametrize("outcome", [RELEASED, UNCHANGED, REFUSED, FAILED])
    def test_every_outcome_has_one(self, outcome: str, root: Path, capfd: Captured) -> None:
        main(["run", "--json", "--pipeline-root", str(root)], run=runner(outcome))
        shown = capfd.readouterr()
        fields = json.loads(shown.out)
        assert 0.0 < fields["seconds"]["total"] < 60.0  # since the start of the command
        path = root / "reports" / f"{fields['run_id']}.html"
        assert fields["report"] == str(path)
        assert f"report: {path}\n" in shown.err
        assert f"{root}/logs/{fields['run_id']}.log" in path.read_text()

    def test_one_that_cannot_be_written_is_a_warning_and_no_more(
        self, root: Path, capfd: Captured
    ) -> None:
        # In the meantime: before the run it would be refused.
        run = runner(RELEASED, act=(root / "reports").touch)
        assert main(["run", "--json", "--pipeline-root", str(root)], run=run) == 0
        shown = capfd.readouterr()
        fields = json.loads(shown.out)
        assert (fields["outcome"], fields["report"]) == (RELEASED, None)
        (warning,) = (line for line in shown.err.splitlines() if "report" in line)
        assert warning.startswith(f"tfx-mnist: the report {root}/reports/")
        assert warning.endswith("; the outcome stands")

    @pytest.mark.parametrize("gone", [False, True])
    def test_it_names_the_files_of_pictures(
        self, gone: bool, root: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        for name in ("cat", "dog"):
            for split in ("train", "test"):
                (tmp_path / "pets" / split / name).mkdir(parents=True)
                pixels = np.frombuffer(f"{split:8}{name:8}".encode(), np.uint8).reshape(4, 4)
                Image.fromarray(pixels).save(tmp_path / "pets" / split / name / "1.png")
        content = (tmp_path / "pets" / "test" / "dog" / "1.png").read_bytes()
        shown = dataclasses.replace(picture(0), files=(hashlib.sha256(content).hexdigest(),))
        if gone:
            shutil.rmtree(tmp_path / "pets")
        run = runner(RELEASED, mistakes=Pictures({LABEL_ERRORS: (shown,)}, examined=1))
        dataset = ("--dataset", f"folder:{tmp_path / 'pets'}")
        assert main(["run", *dataset, "--pipeline-root", str(root)], run=run) == 0
        (page,) = (root / "reports").glob("2*.html")
        assert ("test/dog/1.png" in page.read_text()) is not gone
        said = f"tfx-mnist: the report names no files: folder:{tmp_path}/pets: there is no such"
        assert (said in capfd.readouterr().err) is gone

    def test_without_pictures_no_data_are_looked_at_again(
        self, root: Path, capfd: Captured
    ) -> None:
        words = ["run", "--dataset", "folder:/no/such", "--pipeline-root", str(root)]
        assert main(words, run=runner(RELEASED)) == 0
        assert capfd.readouterr().err == ""


class TestCannotStart:
    def test_it_is_one_line_with_the_runners_exit_code_and_nothing_was_written(
        self, tmp_path: Path, capfd: Captured
    ) -> None:
        run = raiser(CannotStart("another run holds the pipeline root", 1))
        assert main(["run", "--pipeline-root", str(tmp_path / "a" / "b")], run=run) == 1
        assert capfd.readouterr() == ("", "tfx-mnist: another run holds the pipeline root\n")
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_before_stays(self, root: Path) -> None:
        main(["run", "--pipeline-root", str(root)], run=runner(RELEASED))
        before = sorted(root.rglob("*"))
        main(["run", "--pipeline-root", str(root)], run=raiser(CannotStart("unknown set", 2)))
        assert sorted(root.rglob("*")) == before

    def test_json_has_the_line_as_its_error(self, root: Path, capfd: Captured) -> None:
        words = ["run", "--json", "--pipeline-root", str(root)]
        assert main(words, run=raiser(CannotStart("unknown set", 2))) == 2
        fields = json.loads(capfd.readouterr().out)
        assert (fields["outcome"], fields["error"]) == (FAILED, "unknown set")

    def test_verbose_shows_the_traceback(self, root: Path, capfd: Captured) -> None:
        words = ["run", "-v", "--pipeline-root", str(root)]
        main(words, run=raiser(CannotStart("unknown set", 2)))
        assert "Traceback (most recent call last)" in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--pipeline-root", "TMP/a[b]"], "pipeline_root is 'TMP/a[b]', expected a path witho"),
            (["--pipeline-root", "TMP/a*"], "pipeline_root is 'TMP/a*', expected a path without"),
            (["--serving-dir", "TMP/s?"], "serving_dir is 'TMP/s?', expected a path without '?'"),
            (
                ["--pipeline-root", "TMP/file"],
                "pipeline_root needs the directory 'TMP/file', but 'TMP/file' is none: move that "
                "away, or choose another pipeline_root\n",
            ),
            (["--serving-dir", "TMP/link"], "serving_dir needs the directory 'TMP/link', but 'TMP"),
            (["--serving-dir", "TMP/link/s"], "serving_dir needs the directory 'TMP/link/s', but"),
            (["--data-dir", "~nosuchuser"], "data_dir is '~nosuchuser', expected the home direct"),
            (["--pipeline-root", "TMP/old"], "pipeline_root needs the directory 'TMP/old/reports'"),
        ],
    )
    def test_a_directory_that_cannot_be_used_is_refused_before_anything_is_written(
        self, words: list[str], line: str, tmp_path: Path, capfd: Captured
    ) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to(tmp_path / "none")
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "reports").touch()
        before = sorted(tmp_path.rglob("*"))
        words = [word.replace("TMP", str(tmp_path)) for word in words]
        assert main(["run", "--pipeline-root", str(tmp_path / "root"), *words], run=runner()) == 2
        shown = capfd.readouterr()
        assert shown.err.startswith(f"tfx-mnist: {line.replace('TMP', str(tmp_path))}")
        assert shown.err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_bad_configuration_writes_nothing(self, tmp_path: Path) -> None:
        assert main(["run", "--pipeline-root", str(tmp_path / "r"), "--seed=x"]) == 2
        assert list(tmp_path.iterdir()) == []


class TestInterrupt:
    def test_it_is_one_line_and_130(self, root: Path, capfd: Captured) -> None:
        assert main(["run", "--pipeline-root", str(root)], run=raiser(KeyboardInterrupt())) == 130
        shown = capfd.readouterr()
        assert shown.out == ""
        line = "tfx-mnist: interrupted; the same command goes on from what is finished\n"
        assert shown.err == line

    def test_a_real_ctrl_c_ends_a_real_process(self, root: Path) -> None:
        done = script(
            """
            import os, signal, sys, time
            from pipeline.cli.main import main
            def run(config, *, run_id, observer):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30)
            sys.exit(main(["run", "--pipeline-root", sys.argv[1]], run=run))
            """,
            str(root),
        )
        assert done.returncode == 130
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


def test_the_checks_of_a_run_are_written_for_a_ci(root: Path, tmp_path: Path) -> None:
    checks = (Check("floor", False, 0.9, 0.95, "accuracy 0.9000 misses the floor"),)
    words = ["run", "--pipeline-root", str(root), "--junit", f"{tmp_path}/run.xml"]
    assert (
        main([*words, "--markdown", f"{tmp_path}/run.md"], run=runner(REFUSED, checks=checks)) == 3
    )
    assert 'name="run" tests="1" failures="1" errors="0"' in (tmp_path / "run.xml").read_text()
    assert (tmp_path / "run.md").read_text().startswith("### run: refused, 1 of 1 checks failed")


def test_a_run_that_cannot_start_is_an_error_for_a_ci(root: Path, tmp_path: Path) -> None:
    words = ["run", "--pipeline-root", str(root), "--junit", f"{tmp_path}/run.xml"]
    assert main(words, run=raiser(CannotStart("no such data", ExitCode.USAGE))) == 2
    assert '<error message="no such data"' in (tmp_path / "run.xml").read_text()
    assert main([*words, "--markdown", f"{tmp_path}/no/run.md"], run=runner()) == 2
