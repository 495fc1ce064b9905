"""Shows a running pipeline: a live region on a terminal, plain lines elsewhere.

Every display is an observer of the runner, and is also told of the progress that training reports
to `trainer.progress`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from pipeline.cli import output
from pipeline.runners.observer import Observer
from trainer import progress
from trainer.host.text import duration, printable
from trainer.progress import Progress

if TYPE_CHECKING:  # rich takes 0.1 s to import, and only a terminal needs it
    from rich.console import Console, RenderableType

REFRESH_PER_SECOND = 4  # each refresh takes time from training


@contextlib.contextmanager
def display(*, human: TextIO, err: TextIO, verbose: bool) -> Iterator[Observer]:
    """Shows a run until the block is left: on `err` if that can be live, otherwise on `human`.

    With `verbose`, logs share the terminal and would tear a live region apart, so lines are plain.
    """
    with contextlib.ExitStack() as stack:
        shown: Observer
        if output.can_be_live(err) and not verbose and err.encoding.lower().startswith("utf"):
            shown = stack.enter_context(live(err))
        else:
            shown = PlainDisplay(human)
        handler = _ProgressHandler(shown)
        stack.callback(progress.LOGGER.setLevel, progress.LOGGER.level)
        progress.LOGGER.setLevel(logging.INFO)
        stack.callback(progress.LOGGER.removeHandler, handler)
        progress.LOGGER.addHandler(handler)
        yield shown


def training_text(state: Progress) -> str:
    """Returns one line on a training: the epoch, the accuracy after the last one, the time left."""
    accuracy = "" if state.eval_accuracy is None else f", eval accuracy {state.eval_accuracy:.4f}"
    left = "" if state.step >= state.total_steps else f", {duration(state.seconds_left)} left"
    return f"epoch {state.epoch}/{state.epochs}{accuracy}{left}"


class _Display:
    names: Sequence[str] = ()

    def planned(self, names: Sequence[str]) -> None:
        self.names = names

    def placed(self, name: str) -> str:
        """Returns such as "[3/12] Trainer", or the name alone if it was not planned."""
        names = self.names
        return f"[{names.index(name) + 1}/{len(names)}] {name}" if name in names else name


class PlainDisplay(_Display):
    """Prints a line per start and end of a component and per epoch, for files and CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def note(self, text: str) -> None:
        output.write([text], self._stream)

    def component_started(self, name: str) -> None:
        self.note(f"{self.placed(name)} ...")

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        self.note(f"{self.placed(name)}: {'cached' if cached else duration(seconds)}")

    def trained(self, state: Progress) -> None:
        if state.epoch_ended:
            self.note(f"  {training_text(state)}")


class LiveDisplay(_Display):
    """Prints finished components as lines, and below them the running one."""

    def __init__(self, console: Console) -> None:
        from rich.spinner import Spinner

        self._console = console
        self._spinner = Spinner("dots")
        self._running = "starting"
        self._since = time.monotonic()
        self._state: Progress | None = None

    def note(self, text: str) -> None:
        self._console.print(printable(text))

    def component_started(self, name: str) -> None:
        self._running, self._since, self._state = name, time.monotonic(), None

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        from rich.text import Text

        end = ("cached", "cyan") if cached else (duration(seconds), "bold")
        width = max(map(len, self.names), default=0)
        self._console.print(Text.assemble(("✓ ", "green"), f"{name:{width}}  ", end))

    def trained(self, state: Progress) -> None:
        self._state = state

    def __rich__(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        cells: list[RenderableType] = [self._spinner, self.placed(self._running)]
        if self._state is None:
            cells.append(duration(time.monotonic() - self._since))
        else:
            bar = ProgressBar(total=self._state.total_steps, completed=self._state.step, width=20)
            cells += [bar, training_text(self._state)]
        line = Table.grid(*(Column(no_wrap=True) for _ in cells), padding=(0, 1))
        line.add_row(*cells)
        return line


@contextlib.contextmanager
def live(stream: TextIO) -> Iterator[LiveDisplay]:
    """Shows a display that redraws its last line until the block is left, and then removes it."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    shown = LiveDisplay(console)
    region = Live(
        shown,
        console=console,
        refresh_per_second=REFRESH_PER_SECOND,
        transient=True,
        # What libraries print goes to the log file, not above the live region.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with region:
        # A killed run must not leave the terminal without its cursor.
        console.show_cursor(True)
        yield shown


class _ProgressHandler(logging.Handler):
    def __init__(self, shown: Observer) -> None:
        super().__init__()
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if isinstance(state, Progress):
            self._shown.trained(state)
        else:
            self._shown.note(record.getMessage())
