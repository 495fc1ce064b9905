"""SIGTERM and SIGINT (Ctrl-C) end a program within seconds, wherever it is.

Synopsis::

    with terminable():
        ...     # raises Terminated when SIGTERM arrives, KeyboardInterrupt when SIGINT does

All that a run has finished is on disk at any moment, so that it may end at any moment as well. The
exception is the polite way: it removes what is half done, and one line says what happened. But it
is raised in whatever code runs just then, and some of that swallows it or raises another error in
its place (a bare `except` in TensorFlow, Beam's threads). So the signal is noted: the block ends by
the signal's exception whatever became of the first one, and who turns an error into an outcome
looks at the note first (`raise_if_arrived`).

The exception also has to wait for a call into C++ to return, and Python's own end waits for the
threads of a Beam pipeline. So a thread watches, and ends the process when the time is up. The
thread itself ends with Python, and destructors of C++ libraries, which wait as well, come later:
these are skipped.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT  # 130, as shells count
TERMINATED = 128 + signal.SIGTERM  # 143
GRACE_S = 8.0  # container runtimes send SIGKILL after 10 s or more

_noted: list[int] = []  # the signals that arrived, the first one first


class Terminated(BaseException):
    """SIGTERM has arrived."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises inside when SIGTERM or SIGINT arrives, and at the end when that was swallowed.

    Only in the main thread. A SIGINT that is ignored, as in what a shell starts with &, stays so.
    """
    with contextlib.ExitStack() as stack:
        for number, former in _handle(_raise).items():
            stack.callback(signal.signal, number, former)
        stack.callback(_watch(_end_in_time))
        stack.callback(_noted.clear)
        try:
            yield
            raise_if_arrived()
        except (Terminated, KeyboardInterrupt):
            raise
        except BaseException:
            raise_if_arrived()
            raise


def arrived() -> bool:
    """Whether one of the signals has arrived in the present `terminable` block."""
    return bool(_noted)


def raise_if_arrived() -> None:
    """Raises again where a signal has arrived: what came of its exception is no outcome.

    Raises:
      Terminated, KeyboardInterrupt: see `terminable`.
    """
    if _noted:
        raise Terminated if _noted[0] == signal.SIGTERM else KeyboardInterrupt


def end_at_once(line: str) -> None:
    """From now on SIGTERM and SIGINT end this process with 143 and 130, also while C++ code runs.

    For a process that may end at any moment, and has nothing to remove.

    Args:
      line: what follows "terminated; " or "interrupted; " on stderr.
    """

    def end(number: int) -> None:
        word = "terminated" if number == signal.SIGTERM else "interrupted"
        with contextlib.suppress(OSError):
            if select.select([], [2], [], 0.0)[1]:  # a full pipe would keep it here
                os.write(2, f"{word}; {line}\n".encode())
        os._exit(128 + number)

    _handle(
        lambda number, frame: time.sleep(GRACE_S)
    )  # nothing goes on until the watch has ended it
    _watch(end)


def _handle(handler: Callable[[int, object], None]) -> dict[int, Any]:
    """Sets the handler of both signals; returns the former ones."""
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    return {number: signal.signal(number, handler) for number in numbers}


def _raise(number: int, frame: object) -> NoReturn:
    atexit.register(_end_without_destructors, 128 + number)
    _noted.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _end_without_destructors(exit_code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # nobody reads it, or it was closed
            stream.flush()
    os._exit(exit_code)


def _watch(act: Callable[[int], None]) -> Callable[[], None]:
    """Has a thread call `act` with the number of the first signal that arrives.

    Returns:
      What ends the watch.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the C handler at once, also while Python code cannot run in this thread.
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_read, args=(reader, act), daemon=True)
    watcher.start()

    def end() -> None:
        signal.set_wakeup_fd(wakeup)
        os.close(writer)
        watcher.join(0.1)  # ends at once, unless the grace is running

    return end


def _read(reader: int, act: Callable[[int], None]) -> None:
    with open(reader, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                act(number[0])


def _end_in_time(number: int) -> None:
    time.sleep(GRACE_S)
    os._exit(128 + number)
