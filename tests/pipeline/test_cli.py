"""The command line in this process with a runner of the test's, and real processes where needed."""

import datetime
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.checks import Check
from pipeline.cli.arguments import UsageError, configuration, parse
from pipeline.cli.main import main, new_run_id
from pipeline.config import ConfigError, RunConfig
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, Release, RunResult
from pipeline.runners.errors import CannotStart

Captured = pytest.CaptureFixture[str]


def _config(*words: str) -> RunConfig:
    return configuration(parse(["run", *words]))


def _runner(outcome: str = RELEASED, act: Callable[[], None] = lambda: None, **fields: Any) -> Any:
    """A runner that does `act` and comes to `outcome`."""

    def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
        act()
        return RunResult(run_id=run_id, outcome=outcome, **fields)

    return run


def _raiser(error: BaseException) -> Any:
    def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
        print("said before it broke")
        raise error

    return run


def _process(
    words: list[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


def _script(code: str, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    kwargs = {"capture_output": True, "text": True, "timeout": 60, **kwargs}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *args], **kwargs)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pipeline root that does not exist yet."""
    return tmp_path / "root"


class TestConfiguration:
    def test_without_options_it_is_the_quick_preset_on_the_sample(self) -> None:
        assert (_config().preset, _config().dataset) == ("quick", "mnist_sample")

    def test_every_flag_reaches_its_field(self) -> None:
        config = _config(
            *("--preset", "fast", "--dataset", "idx:d", "--data-dir", "t", "--pipeline-root", "p"),
            *("--serving-dir", "s", "--seed", "7", "--replicas", "2", "--no-cache"),
        )
        assert config.preset == "fast"
        assert (config.dataset, config.data_dir) == ("idx:d", "t")
        assert (config.pipeline_root, config.serving_dir) == ("p", "s")
        assert (config.seed, config.replicas, config.cache) == (7, 2, False)

    def test_set_takes_any_key_and_may_be_given_again(self) -> None:
        config = _config("--set", "gate.floor=0.995", "--set", "seed=4", "--set", "dataset=a=b")
        assert (config.gate.floor, config.seed, config.dataset) == (0.995, 4, "a=b")

    def test_of_a_flag_and_a_set_of_one_key_the_later_wins(self) -> None:
        assert _config("--seed", "1", "--set", "seed=2").seed == 2
        assert _config("--set", "seed=2", "--seed", "1").seed == 1

    def test_set_takes_the_preset_too(self) -> None:
        assert _config("--set", "preset=article").training.optimizer == "adadelta"

    @pytest.mark.parametrize("form", [["--beam-arg", "--x=1"], ["--beam-arg=--x=1"]])
    def test_a_beam_argument_may_begin_with_dashes(self, form: list[str]) -> None:
        assert _config(*form, "--beam-arg", "-y").beam_args == ("--x=1", "-y")

    def test_the_file_goes_over_the_preset_and_flags_over_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text("preset: article\nseed: 5\nreplicas: 2\ntraining: {epochs: 3}\n")
        config = _config("--config", str(file), "--replicas", "1")
        assert config.training.optimizer == "adadelta"  # the preset's, which the file names
        assert (config.training.epochs, config.seed) == (3, 5)  # the file's
        assert config.replicas == 1  # the flag's

    def test_a_preset_flag_wins_over_the_files_and_keeps_its_other_keys(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "run.yaml"
        file.write_text("preset: article\ntraining.epochs: 3\n")
        config = _config("--preset", "fast", "--config", str(file))
        assert (config.preset, config.training.optimizer) == ("fast", "adam")
        assert config.training.epochs == 3

    def test_an_empty_file_changes_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "run.yaml").write_text("# nothing yet\n")
        assert _config("--config", str(tmp_path / "run.yaml")) == _config()

    def test_the_files_beam_arguments_give_way_to_the_flags(self, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text("beam_args: [--a, --b]\n")
        assert _config("--config", str(file)).beam_args == ("--a", "--b")
        assert _config("--config", str(file), "--beam-arg=--c").beam_args == ("--c",)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("sed: 3", "FILE: unknown key 'sed': did you mean 'seed'?"),
            ("gate: {flor: 1}", "FILE: unknown key 'gate.flor': did you mean 'gate.floor'?"),
            ("preset: fsat", "FILE: unknown preset 'fsat': did you mean 'fast'?"),
            ("seed: many", "FILE: seed is 'many', expected a whole number"),
            ("[1, 2]", "FILE holds a list, expected keys with values, such as 'seed: 3'"),
            ("seed", "FILE holds a str, expected keys with values, such as 'seed: 3'"),
            ("a: b: c", "FILE is not YAML: line 1, column 5: mapping values are not allowed here"),
        ],
    )
    def test_a_bad_file_is_refused_by_name(self, text: str, line: str, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            _config("--config", str(file))
        assert str(caught.value).startswith(line.replace("FILE", str(file)))
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"cannot read the configuration .*/no.yaml: No such"):
            _config("--config", str(tmp_path / "no.yaml"))

    def test_a_file_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="is not YAML: 'utf-8' codec"):
            _config("--config", str(tmp_path / "run.yaml"))


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ([], "no command given, expected run; see tfx-mnist --help"),
            (["rnu"], "unknown command 'rnu': did you mean 'run'? known are run"),
            (["--versio"], "unknown option '--versio': did you mean '--version'?"),
            (["--json", "run"], "--json stands before the command, expected after it"),
            (["run", "--datset", "m"], "unknown option '--datset': did you mean '--dataset'?"),
            (["run", "--datset=m"], "unknown option '--datset': did you mean '--dataset'?"),
            (["run", "--see", "1"], "unknown option '--see': did you mean '--seed'?"),
            (["run", "mnist"], "unexpected argument 'mnist': values follow an option;"),
            (["run", "--seed"], "argument --seed: expected one argument; see tfx-mnist run --help"),
            (["run", "--beam-arg"], "argument --beam-arg: expected one argument;"),
            (["run", "--set", "seed"], "--set 'seed' has no '=', expected key=value such as"),
        ],
    )
    def test_words_that_make_no_command_are_refused_in_one_line(
        self, words: list[str], line: str
    ) -> None:
        with pytest.raises(UsageError) as caught:
            parse(words)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["rnu"], "tfx-mnist: unknown command 'rnu': did you mean 'run'? known are run\n"),
            (
                ["run", "--sede", "1"],
                "tfx-mnist: unknown option '--sede': did you mean '--seed'? "
                "see tfx-mnist run --help\n",
            ),
            (["run", "--seed", "x"], "tfx-mnist: seed is 'x', expected a whole number\n"),
            (
                ["run", "--preset", "fastest"],
                "tfx-mnist: unknown preset 'fastest': did you mean 'fast'? "
                "known are article, fast, quick\n",
            ),
        ],
    )
    def test_a_real_process_says_one_line_on_stderr_and_exits_with_2(
        self, words: list[str], line: str
    ) -> None:
        done = _process(words)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", line)

    @pytest.mark.parametrize("words", [["run", "--json", "--sede"], ["run", "--json", "--seed=x"]])
    def test_with_json_a_usage_error_is_an_object_too(
        self, words: list[str], capfd: Captured
    ) -> None:
        assert main(words) == 2
        shown = capfd.readouterr()
        fields = json.loads(shown.out)
        assert (fields["outcome"], fields["release"]) == (FAILED, None)
        assert shown.err == f"tfx-mnist: {fields['error']}\n"

    @pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
    def test_help_explains_the_exit_codes(self, words: list[str], capfd: Captured) -> None:
        assert main(words) == 0
        shown = capfd.readouterr().out
        for line in ("0    released", "1    failed", "2    usage", "3    refused", "130  inter"):
            assert line in shown

    def test_help_of_run_lists_presets_and_keys(self, capfd: Captured) -> None:
        main(["run", "--help"])
        shown = capfd.readouterr().out
        assert "quick, fast or article" in " ".join(shown.split())
        assert "gate.class_floor" in shown

    @pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["rnu"]])
    def test_answers_import_nothing_heavy(self, words: list[str]) -> None:
        done = _script(
            """
            import sys
            from pipeline.cli.main import main
            main(sys.argv[1:])
            heavy = {"tensorflow", "keras", "tfx", "apache_beam", "numpy", "rich", "yaml", "absl"}
            print("heavy:", sorted(heavy & set(sys.modules)))
            """,
            *words,
        )
        assert done.stdout.endswith("heavy: []\n")

    def test_version_is_one_line(self, capfd: Captured) -> None:
        assert main(["--version"]) == 0
        assert re.fullmatch(r"tfx-mnist .+\n", capfd.readouterr().out)


class TestRunId:
    def test_it_is_the_time_in_utc_and_a_suffix(self) -> None:
        zone = datetime.timezone(datetime.timedelta(hours=2))
        now = datetime.datetime(2026, 11, 23, 12, 30, 1, 999, tzinfo=zone)
        assert new_run_id(now, "3f2a") == "20261123T103001Z-3f2a"

    def test_the_runner_gets_it_and_the_log_is_named_by_it(self, root: Path) -> None:
        seen = []

        def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
            seen.append(run_id)
            return RunResult(run_id, RELEASED)

        main(["run", "--pipeline-root", str(root)], run=run)
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", seen[0])
        assert [file.name for file in (root / "logs").iterdir()] == [f"{seen[0]}.log"]


class TestOutcome:
    @pytest.mark.parametrize(
        ("outcome", "code"), [(RELEASED, 0), (UNCHANGED, 0), (FAILED, 1), (REFUSED, 3)]
    )
    def test_the_exit_code_follows_the_outcome(self, outcome: str, code: int, root: Path) -> None:
        assert main(["run", "--pipeline-root", str(root)], run=_runner(outcome)) == code

    def test_bad_data_found_on_the_way_is_a_users_error(self, root: Path) -> None:
        run = _runner(FAILED, error="ExampleGen: no image of class 2", bad_data=True)
        assert main(["run", "--pipeline-root", str(root)], run=run) == 2

    def test_the_summary_is_on_stdout(self, root: Path, capfd: Captured) -> None:
        run = _runner(RELEASED, release=Release(2, "serving/2"))
        main(["run", "--pipeline-root", str(root)], run=run)
        shown = capfd.readouterr()
        assert "released: version 2 in serving/2\n" in shown.out
        assert shown.err == ""

    def test_a_refusal_says_which_check_failed(self, root: Path, capfd: Captured) -> None:
        check = Check("accuracy", False, 0.9, 0.96, "accuracy is 0.9000, required is 0.9600")
        main(["run", "--pipeline-root", str(root)], run=_runner(REFUSED, checks=(check,)))
        shown = capfd.readouterr().out
        assert "failed: accuracy is 0.9000, required is 0.9600\n" in shown
        assert f"log: {root}/logs/" in shown

    def test_a_failure_is_on_stderr_with_its_log(self, root: Path, capfd: Captured) -> None:
        run = _runner(FAILED, error="Trainer: loss is nan")
        main(["run", "--pipeline-root", str(root)], run=run)
        shown = capfd.readouterr()
        assert shown.out == ""
        assert "failed: Trainer: loss is nan\n" in shown.err
        assert f"log: {root}/logs/" in shown.err

    def test_an_unexpected_error_is_one_line_and_its_traceback_is_in_the_log(
        self, root: Path, capfd: Captured
    ) -> None:
        code = main(["run", "--pipeline-root", str(root)], run=_raiser(ValueError("no\nway")))
        assert code == 1
        shown = capfd.readouterr()
        assert "failed: ValueError: no way\n" in shown.err
        assert "Traceback" not in shown.err
        (log,) = (root / "logs").iterdir()
        assert "Traceback (most recent call last)" in log.read_text()

    def test_the_time_counts_from_the_start_of_the_command(
        self, root: Path, capfd: Captured
    ) -> None:
        main(["run", "--json", "--pipeline-root", str(root)], run=_runner(RELEASED))
        assert 0.0 < json.loads(capfd.readouterr().out)["seconds"]["total"] < 60.0


class TestCannotStart:
    def test_it_is_one_line_with_the_runners_exit_code(self, root: Path, capfd: Captured) -> None:
        run = _raiser(CannotStart("another run holds the pipeline root", 1))
        assert main(["run", "--pipeline-root", str(root)], run=run) == 1
        shown = capfd.readouterr()
        assert (shown.out, shown.err) == ("", "tfx-mnist: another run holds the pipeline root\n")

    def test_nothing_was_written(self, tmp_path: Path) -> None:
        run = _raiser(CannotStart("unknown set", 2))
        assert main(["run", "--pipeline-root", str(tmp_path / "a" / "b")], run=run) == 2
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_before_stays(self, root: Path) -> None:
        main(["run", "--pipeline-root", str(root)], run=_runner(RELEASED))
        before = sorted(root.rglob("*"))
        main(["run", "--pipeline-root", str(root)], run=_raiser(CannotStart("unknown set", 2)))
        assert sorted(root.rglob("*")) == before

    def test_json_has_the_line_as_its_error(self, root: Path, capfd: Captured) -> None:
        words = ["run", "--json", "--pipeline-root", str(root)]
        assert main(words, run=_raiser(CannotStart("unknown set", 2))) == 2
        fields = json.loads(capfd.readouterr().out)
        assert (fields["outcome"], fields["error"]) == (FAILED, "unknown set")

    def test_verbose_shows_the_traceback(self, root: Path, capfd: Captured) -> None:
        words = ["run", "-v", "--pipeline-root", str(root)]
        main(words, run=_raiser(CannotStart("unknown set", 2)))
        assert "Traceback (most recent call last)" in capfd.readouterr().err

    def test_a_pipeline_root_that_cannot_be_written_is_refused(
        self, tmp_path: Path, capfd: Captured
    ) -> None:
        (tmp_path / "file").touch()
        assert main(["run", "--pipeline-root", str(tmp_path / "file")], run=_runner()) == 2
        assert capfd.readouterr().err == (
            f"tfx-mnist: cannot write to the pipeline root {tmp_path}/file: Not a directory; "
            "choose another one with --pipeline-root\n"
        )

    def test_a_bad_configuration_writes_nothing(self, tmp_path: Path) -> None:
        assert main(["run", "--pipeline-root", str(tmp_path / "r"), "--seed=x"]) == 2
        assert list(tmp_path.iterdir()) == []


class TestInterrupt:
    def test_it_is_one_line_and_130(self, root: Path, capfd: Captured) -> None:
        assert main(["run", "--pipeline-root", str(root)], run=_raiser(KeyboardInterrupt())) == 130
        shown = capfd.readouterr()
        assert shown.out == ""
        line = "tfx-mnist: interrupted; the same command goes on from what is finished\n"
        assert shown.err == line

    def test_a_real_ctrl_c_ends_a_real_process(self, root: Path) -> None:
        done = _script(
            """
            import os, signal, sys, time
            from pipeline.cli.main import main
            def run(config, *, run_id, observer):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30)
            sys.exit(main(["run", "--pipeline-root", sys.argv[1]], run=run))
            """,
            str(root),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert done.returncode == 130
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


NOISE = """
    import ctypes, logging, os, subprocess, sys, warnings
    from pipeline.cli.main import main
    from pipeline.result import RunResult, RELEASED
    def run(config, *, run_id, observer):
        import absl.logging
        os.write(1, b"C on 1\\n")
        os.write(2, b"C on 2\\n")
        ctypes.CDLL(None).puts(b"libc puts")  # stays in C's own buffer
        print("python on 1")
        print("python on 2, no line end", file=sys.stderr, end="")
        print("original stream", file=sys.__stdout__)
        logging.getLogger("some.library").info("info record")
        absl.logging.info("absl record")
        warnings.warn("a warning")
        subprocess.run(["sh", "-c", "echo from a child; echo child err >&2"], check=True)
        observer.component_started("Trainer")
        return RunResult(run_id, RELEASED)
    sys.exit(main(["run", "--pipeline-root", sys.argv[1], *sys.argv[2:]], run=run))
"""
NOISES = (
    *("C on 1", "C on 2", "libc puts", "python on 1", "python on 2", "original stream"),
    *("info record", "absl record", "a warning", "from a child", "child err"),
)


class TestLogs:
    def _noises(self, text: str) -> list[str]:
        return [noise for noise in NOISES if noise in text]

    def test_whatever_libraries_write_goes_to_the_file(self, root: Path) -> None:
        done = _script(NOISE, str(root))
        (log,) = (root / "logs").iterdir()
        assert self._noises(log.read_text()) == list(NOISES)
        assert self._noises(done.stdout + done.stderr) == []
        assert "Trainer ...\n" in done.stdout

    def test_verbose_shows_all_of_it_on_stderr_too(self, root: Path) -> None:
        done = _script(NOISE, str(root), "-v")
        (log,) = (root / "logs").iterdir()
        assert done.stderr == log.read_text()
        assert self._noises(done.stderr) == list(NOISES)
        assert self._noises(done.stdout) == []

    def test_json_leaves_stdout_to_one_object(self, root: Path) -> None:
        done = _script(NOISE, str(root), "--json", "-v")
        assert json.loads(done.stdout)["outcome"] == RELEASED
        assert done.stdout.count("\n") == 1
        assert "Trainer ...\n" in done.stderr

    def test_verbose_loses_nothing_of_much(self, root: Path) -> None:
        done = _script(
            """
            import os, sys
            from pipeline.cli.main import main
            from pipeline.result import RunResult, RELEASED
            def run(config, *, run_id, observer):
                for number in range(20_000):
                    os.write(2, b"%06d %s\\n" % (number, b"x" * 60))
                return RunResult(run_id, RELEASED)
            sys.exit(main(["run", "-v", "--pipeline-root", sys.argv[1]], run=run))
            """,
            str(root),
        )
        assert [int(line[:6]) for line in done.stderr.splitlines()] == list(range(20_000))

    @pytest.mark.parametrize("error", [CannotStart("no", 2), ValueError("no"), KeyboardInterrupt()])
    def test_descriptors_are_given_back_whatever_happens(
        self, error: BaseException, root: Path, capfd: Captured
    ) -> None:
        streams, targets = (sys.stdout, sys.stderr), (os.fstat(1), os.fstat(2))
        main(["run", "--pipeline-root", str(root)], run=_raiser(error))
        assert (sys.stdout, sys.stderr) == streams
        assert os.path.samestat(os.fstat(1), targets[0])
        assert os.path.samestat(os.fstat(2), targets[1])
        assert "said before it broke" not in capfd.readouterr().out

    def test_no_descriptor_is_leaked(self, root: Path) -> None:
        main(["run", "--pipeline-root", str(root)], run=_runner())  # imports, once
        before = os.listdir("/proc/self/fd")
        main(["run", "-v", "--pipeline-root", str(root)], run=_runner())
        assert len(os.listdir("/proc/self/fd")) == len(before)

    def test_logging_and_warnings_are_as_before(self, root: Path) -> None:
        before = (list(logging.getLogger().handlers), logging.getLogger().level)
        show = warnings.showwarning
        main(["run", "--pipeline-root", str(root)], run=_runner())
        assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
        assert warnings.showwarning is show

    def test_a_reader_that_went_away_does_not_change_the_exit_code(self, root: Path) -> None:
        code = """
            import sys, time
            from pipeline.cli.main import main
            from pipeline.result import RunResult, REFUSED
            def run(config, *, run_id, observer):
                sys.stdin.read()   # until the reader of our stdout has gone
                observer.component_started("Trainer")
                return RunResult(run_id, REFUSED)
            sys.exit(main(["run", "--pipeline-root", sys.argv[1]], run=run))
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdout.close()
            process.stdin.close()
            errors = process.stderr.read()
            assert (process.wait(60), errors) == (3, b"")
