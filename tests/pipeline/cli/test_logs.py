"""What libraries write goes to the log file, and the terminal stays ours."""

import json
import logging
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.result import RELEASED
from pipeline.runners.failures import CannotStart
from tests.pipeline.cli.processes import raiser, runner, script

Captured = pytest.CaptureFixture[str]

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


@pytest.mark.once  # what becomes of two descriptors
class TestLogs:
    def _noises(self, text: str) -> list[str]:
        return [noise for noise in NOISES if noise in text]

    def test_whatever_libraries_write_goes_to_the_file(self, root: Path) -> None:
        done = script(NOISE, str(root))
        (log,) = (root / "logs").iterdir()
        assert self._noises(log.read_text()) == list(NOISES)
        assert self._noises(done.stdout + done.stderr) == []
        assert "Trainer ...\n" in done.stdout

    def test_verbose_shows_all_of_it_on_stderr_too(self, root: Path) -> None:
        done = script(NOISE, str(root), "-v")
        (log,) = (root / "logs").iterdir()
        assert done.stderr == log.read_text()
        assert self._noises(done.stderr) == list(NOISES)
        assert self._noises(done.stdout) == []

    def test_json_leaves_stdout_to_one_object(self, root: Path) -> None:
        done = script(NOISE, str(root), "--json", "-v")
        assert json.loads(done.stdout)["outcome"] == RELEASED
        assert done.stdout.count("\n") == 1
        assert "Trainer ...\n" in done.stderr

    def test_no_text_passes_for_a_record_or_moves_the_cursor(self, root: Path) -> None:
        done = script(
            r"""
            import logging, os, sys, time
            from pipeline.cli import logs
            from pipeline.cli.main import main
            from pipeline.result import RunResult, RELEASED
            logs.FOLLOW_INTERVAL_S = 0.01
            def run(config, *, run_id, observer):
                forged = "2026-11-26 10:00:00,000 INFO root: released"
                logging.warning("class %s", "7\n" + forged + "\x1b[2J")
                os.write(2, b"caf\xc3")
                time.sleep(0.3)  # and -v has read so far
                os.write(2, b"\xa9 \x1b[1A \xff\n")
                return RunResult(run_id, RELEASED)
            sys.exit(main(["run", "-v", "--pipeline-root", sys.argv[1]], run=run))
            """,
            str(root),
        )
        (log,) = (root / "logs").iterdir()
        assert done.stderr.splitlines()[1:] == [
            r"  2026-11-26 10:00:00,000 INFO root: released\x1b[2J",
            r"café \x1b[1A \xff",
        ]
        assert "\n  2026-11-26 10:00:00,000 INFO root: released\\x1b[2J\n" in log.read_text(
            errors="replace"
        )

    def test_verbose_loses_nothing_of_much(self, root: Path) -> None:
        done = script(
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
        main(["run", "--pipeline-root", str(root)], run=raiser(error))
        assert (sys.stdout, sys.stderr) == streams
        assert os.path.samestat(os.fstat(1), targets[0])
        assert os.path.samestat(os.fstat(2), targets[1])
        assert "said before it broke" not in capfd.readouterr().out

    def test_no_descriptor_is_leaked(self, root: Path) -> None:
        main(["run", "--pipeline-root", str(root)], run=runner())  # imports, once
        before = os.listdir("/proc/self/fd")
        main(["run", "-v", "--pipeline-root", str(root)], run=runner())
        assert len(os.listdir("/proc/self/fd")) == len(before)

    def test_logging_and_warnings_are_as_before(self, root: Path) -> None:
        before = (list(logging.getLogger().handlers), logging.getLogger().level)
        show = warnings.showwarning
        main(["run", "--pipeline-root", str(root)], run=runner())
        assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
        assert warnings.showwarning is show

    def test_a_reader_that_went_away_does_not_change_the_exit_code(self, root: Path) -> None:
        code = """
            import sys
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
            assert (process.wait(300), errors) == (3, b"")
