import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from pipeline.cli.output import text_stream
from pipeline.cli.terminal import LiveDisplay, PlainDisplay, display, training_text
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

    def test_progress_of_the_training_is_shown_until_the_block_is_left(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        out = io.StringIO()
        caplog.set_level("INFO", logger=progress.LOGGER.name)
        with display(human=out, err=out, verbose=False):
            progress.report(_ended(1))
        progress.report(_ended(2))
        assert out.getvalue() == "  epoch 1/2, eval accuracy 0.9000, 1.5 s left\n"

    def test_what_else_the_training_says_is_a_line(self) -> None:
        out = io.StringIO()
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
            timeout=300,
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
