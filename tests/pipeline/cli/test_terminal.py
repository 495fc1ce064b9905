import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from pipeline.cli.output import Line, text_stream, write
from pipeline.cli.summary import summary
from pipeline.cli.terminal import LiveDisplay, PlainDisplay, display, duration, training_text
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, Release, RunResult
from trainer import progress
from trainer.progress import Progress

HALFWAY = Progress(
    step=5,
    total_steps=10,
    epoch=2,
    epochs=4,
    seconds_left=12.3,
    eval_accuracy=0.98765,
    epoch_ended=False,
)


def _ended(epoch: int) -> Progress:
    return Progress(epoch * 5, 10, epoch, 2, 1.5, 0.9, epoch_ended=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_training_shows_epoch_accuracy_and_time_left() -> None:
    assert training_text(HALFWAY) == "epoch 2/4, eval accuracy 0.9877, 12 s left"


def test_before_the_first_epoch_there_is_no_accuracy() -> None:
    first = Progress(1, 10, 1, 4, 90.0, None, epoch_ended=False)
    assert training_text(first) == "epoch 1/4, 1 min 30 s left"


def test_at_the_end_there_is_no_time_left() -> None:
    assert training_text(_ended(2)) == "epoch 2/2, eval accuracy 0.9000"


class TestPlain:
    def test_one_line_per_start_end_and_epoch(self) -> None:
        out = io.StringIO()
        shown = PlainDisplay(out)
        shown.planned(["Transform", "Trainer"])
        shown.component_started("Transform")
        shown.component_finished("Transform", 0.2, cached=True)
        shown.component_started("Trainer")
        for state in (HALFWAY, HALFWAY, _ended(1), HALFWAY, _ended(2)):
            shown.trained(state)
        shown.component_finished("Trainer", 12.0, cached=False)
        assert out.getvalue().splitlines() == [
            "[1/2] Transform ...",
            "[1/2] Transform: cached",
            "[2/2] Trainer ...",
            "  epoch 1/2, eval accuracy 0.9000, 1.5 s left",
            "  epoch 2/2, eval accuracy 0.9000",
            "[2/2] Trainer: 12 s",
        ]

    def test_a_component_that_was_not_planned_has_no_place(self) -> None:
        out = io.StringIO()
        PlainDisplay(out).component_finished("Tuner", 1.0, cached=False)
        assert out.getvalue() == "Tuner: 1.0 s\n"

    def test_a_note_is_one_line_whatever_is_in_it(self) -> None:
        out = io.StringIO()
        PlainDisplay(out).note("resumed\nreleased: \x1b[32mversion 9")
        assert out.getvalue() == "resumed\\nreleased: \\x1b[32mversion 9\n"

    def test_a_reader_that_went_away_is_no_error(self) -> None:
        read_end, write_end = os.pipe()
        os.close(read_end)
        with text_stream(write_end, like=None, closefd=True) as stream:
            PlainDisplay(stream).component_started("Trainer")


class TestLive:
    def _shown(self, *, width: int = 100) -> tuple[LiveDisplay, Console]:
        console = Console(file=io.StringIO(), force_terminal=True, width=width, no_color=True)
        return LiveDisplay(console), console

    def _drawn(self, shown: LiveDisplay) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(shown)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def test_a_finished_component_becomes_a_line_with_its_time(self) -> None:
        shown, console = self._shown()
        shown.planned(["ImageExampleGen", "Trainer"])
        shown.component_finished("Trainer", 65.0, cached=False)
        assert isinstance(console.file, io.StringIO)
        assert "Trainer          " in console.file.getvalue()  # as wide as the longest name
        assert "1 min 05 s" in console.file.getvalue()

    def test_a_cached_component_says_so(self) -> None:
        shown, console = self._shown()
        shown.component_finished("Trainer", 0.1, cached=True)
        assert isinstance(console.file, io.StringIO)
        assert "cached" in console.file.getvalue()

    def test_the_running_component_has_its_place(self) -> None:
        shown, _ = self._shown()
        shown.planned(["Transform", "Trainer"])
        shown.component_started("Trainer")
        assert "[2/2] Trainer" in self._drawn(shown)

    def test_while_training_there_is_a_bar_and_the_time_left(self) -> None:
        shown, _ = self._shown()
        shown.component_started("Trainer")
        shown.trained(HALFWAY)
        drawn = self._drawn(shown)
        assert "━" in drawn
        assert "epoch 2/4, eval accuracy 0.9877, 12 s left" in drawn

    def test_the_next_component_begins_without_the_bar(self) -> None:
        shown, _ = self._shown()
        shown.trained(HALFWAY)
        shown.component_started("Evaluator")
        assert "epoch" not in self._drawn(shown)

    def test_before_the_first_component_it_says_starting(self) -> None:
        assert "starting" in self._drawn(self._shown()[0])

    def test_a_note_cannot_move_the_cursor(self) -> None:
        shown, console = self._shown()
        shown.note("resumed\x1b[1A\x1b[2K")
        assert "\x1b[1A" not in console.file.getvalue()
        assert "resumed\\x1b" in console.file.getvalue()


class TestDisplay:
    def test_elsewhere_than_on_a_terminal_lines_are_plain(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        with display(human=out, err=err, verbose=False) as shown:
            shown.component_started("Trainer")
        assert (out.getvalue(), err.getvalue()) == ("Trainer ...\n", "")

    def test_progress_of_the_training_is_shown_until_the_block_is_left(self) -> None:
        out = io.StringIO()
        progress.LOGGER.setLevel("INFO")
        with display(human=out, err=out, verbose=False):
            progress.report(_ended(1))
        progress.report(_ended(2))
        assert out.getvalue() == "  epoch 1/2, eval accuracy 0.9000, 1.5 s left\n"

    def test_what_else_the_training_says_is_a_line(self) -> None:
        out = io.StringIO()
        progress.LOGGER.setLevel("INFO")
        with display(human=out, err=out, verbose=False):
            progress.LOGGER.info("resumed after epoch %d", 3)
        assert out.getvalue() == "resumed after epoch 3\n"

    @pytest.mark.parametrize(
        ("verbose", "term", "encoding"),
        [(True, "xterm", "utf-8"), (False, "dumb", "utf-8"), (False, "xterm", "ascii")],
    )
    def test_with_logs_or_on_a_poor_terminal_lines_are_plain(
        self, verbose: bool, term: str, encoding: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", term)
        controller, terminal = pty.openpty()
        out = io.StringIO()
        with (
            open(terminal, "w", encoding=encoding) as err,
            display(human=out, err=err, verbose=verbose) as shown,
        ):
            shown.component_started("Trainer")
        os.close(controller)
        assert out.getvalue() == "Trainer ...\n"

    def test_on_a_terminal_a_region_is_live_and_the_cursor_stays_visible(self) -> None:
        script = (
            "import sys\n"
            "from pipeline.cli.terminal import display\n"
            "with display(human=sys.stdout, err=sys.stderr, verbose=False) as shown:\n"
            "    shown.planned(['Trainer'])\n"
            "    shown.component_started('Trainer')\n"
            "    shown.component_finished('Trainer', 2.0, cached=False)\n"
        )
        controller, terminal = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=env,
            check=True,
            timeout=60,
        )
        os.close(terminal)
        drawn = _read_all(controller)
        assert done.stdout == b""
        assert b"Trainer" in drawn
        assert b"2.0 s" in drawn
        hidden, shown = drawn.rfind(b"\x1b[?25l"), drawn.rfind(b"\x1b[?25h")
        assert shown > hidden


def _read_all(controller: int) -> bytes:
    """What was written to a pseudo-terminal whose other end is closed."""
    read = b""
    while True:
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # Linux: EIO stands for the end
            chunk = b""
        if not chunk:
            os.close(controller)
            return read
        read += chunk


EVIDENCE = Evidence(
    overall=Tally(rows=1000, correct=981),
    classes={"7": Tally(rows=500, correct=488), "8": Tally(rows=500, correct=493)},
    slices={},
    cross_entropy=0.1,
    top_2_accuracy=0.99,
)
PASSED = (
    Check("data.blank", True, 0, 0, "no image is blank"),
    Check("data.overlap", True, 0, 0, "0 of 1,000 test images stand in train"),
    Check("accuracy", True, 0.981, 0.96, "accuracy is 0.9810, at least 0.9600"),
    Check("class.7", True, 0.976, 0.88, "accuracy of class 7 is 0.9760, allowed is 0.8800"),
    Check("class.8", True, 0.986, 0.88, "accuracy of class 8 is 0.9860, allowed is 0.8800"),
    Check("class_change.7", True, -0.002, 0.0, "class 7: 1 gained and 2 lost"),
    Check("class_change.8", True, 0.004, 0.0, "class 8: 2 gained and 0 lost"),
    Check("baseline", True, None, None, "first release, no baseline"),
)


class TestSummary:
    def _text(self, result: RunResult) -> list[str]:
        return [line.text for line in summary(result)]

    def test_a_released_run(self) -> None:
        result = RunResult(
            run_id="r",
            outcome=RELEASED,
            dataset={
                "name": "mnist_sample",
                "digest": "ab",
                "splits": {"train": {"rows": 3500}, "eval": {"rows": 500}, "test": {"rows": 1000}},
            },
            evidence=EVIDENCE,
            checks=PASSED,
            release=Release(3, "pipeline_root/serving/mnist_sample/3"),
            total_seconds=42.0,
            log_file="x.log",
        )
        assert self._text(result) == [
            "data: mnist_sample (train 3,500, eval 500, test 1,000)",
            "accuracy: 0.9810 on 1,000 test images",
            "  passed: 2 data checks",
            "  passed: accuracy is 0.9810, at least 0.9600",
            "  passed: 2 class checks, lowest 7: 0.9760 (allowed 0.88)",
            "  passed: 2 class change checks, lowest 7: -0.0020",
            "  passed: first release, no baseline",
            "released: version 3 in pipeline_root/serving/mnist_sample/3",
            "time: 42 s",
        ]

    def test_row_counts_may_stand_alone(self) -> None:
        result = RunResult("r", RELEASED, dataset={"name": "m", "splits": {"test": 1000}})
        assert "data: m (test 1,000)" in self._text(result)

    def test_a_refused_run_says_which_check_failed_and_where_the_log_is(self) -> None:
        failed = Check("class.8", False, 0.8, 0.88, "accuracy of class 8 is 0.8000, required ...")
        result = RunResult("r", REFUSED, checks=(*PASSED[3:4], failed), log_file="logs/r.log")
        assert self._text(result) == [
            "  failed: accuracy of class 8 is 0.8000, required ...",
            "  passed: accuracy of class 7 is 0.9760, allowed is 0.8800",
            "refused: nothing was released, what was served stays",
            "time: 0.0 s",
            "log: logs/r.log",
        ]

    def test_a_failed_run_says_why_and_where_the_log_is(self) -> None:
        result = RunResult("r", FAILED, error="Trainer: loss is nan", log_file="logs/r.log")
        assert self._text(result)[0] == "failed: Trainer: loss is nan"
        assert self._text(result)[-1] == "log: logs/r.log"

    def test_an_unchanged_run_names_the_version_that_holds_the_model(self) -> None:
        result = RunResult("r", UNCHANGED, release=Release(3, "serving/3"), log_file="x.log")
        assert self._text(result)[0] == "unchanged: version 3 in serving/3 holds this model already"

    def test_components_from_the_cache_are_counted(self) -> None:
        result = RunResult("r", UNCHANGED, seconds={"A": 0.0, "B": 1.0}, cached=("A",))
        assert self._text(result)[-1] == "time: 0.0 s, 1 of 2 components from the cache"


class TestWrite:
    def test_a_long_path_is_never_broken(self) -> None:
        out, path = io.StringIO(), "a/" * 300 + "b"
        write([path], out)
        assert out.getvalue() == f"{path}\n"

    @pytest.mark.parametrize(
        ("no_color", "term", "shown"),
        [
            ("", "xterm", b"\x1b[32myes\x1b[0m\r\n\x1b[31mno\x1b[0m\r\nso\r\n"),
            ("1", "xterm", b"yes\r\nno\r\nso\r\n"),
            ("", "dumb", b"yes\r\nno\r\nso\r\n"),
        ],
    )
    def test_good_and_bad_are_coloured_on_a_terminal_without_no_color(
        self, no_color: str, term: str, shown: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("NO_COLOR", no_color)
        controller, terminal = pty.openpty()
        with open(terminal, "w") as stream:
            write([Line("yes", "good"), Line("no", "bad"), Line("so")], stream)
            read = b""
            while len(read) < len(shown):
                read += os.read(controller, 1_000)
        os.close(controller)
        assert read == shown

    def test_elsewhere_text_is_bare(self) -> None:
        out = io.StringIO()
        write([Line("yes", "good")], out)
        assert out.getvalue() == "yes\n"
