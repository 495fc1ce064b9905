"""SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a lost terminal) end a program within seconds, whatever it
is doing. SIGHUP counts as SIGTERM.

The exception of a signal lets a run clean up, but some code swallows it or raises another error
instead (a bare `except` in TensorFlow, Beam's threads). So the signal is recorded: a `terminable`
block ends by its exception in any case, and code that turns an error into an outcome consults the
record first (`raise_if_arrived`).

The first signal counts. Later ones do nothing, because they would interrupt the last words.

The exception also waits until a call into C++ returns, and the end of Python waits for the threads
of a Beam pipeline. So a watching thread ends the process when the time is up. Since that thread
ends with Python, destructors of C++ libraries, which wait too, are skipped.
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

_CODES: dict[int, int] = {
    signal.SIGTERM: TERMINATED,
    signal.SIGINT: INTERRUPTED,
    signal.SIGHUP: TERMINATED,  # the terminal is gone, maybe with a connection
}
_noted: list[int] = []  # the exit codes of the signals that arrived, the first one first
_at_end: list[Callable[[], object]] = []


class Terminated(BaseException):
    """SIGTERM or SIGHUP has arrived."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises `Terminated` on SIGTERM and SIGHUP and KeyboardInterrupt on SIGINT inside the block,
    and again at its end if that was swallowed.

    Call it in the main thread only. A SIGINT that is ignored, as by jobs that a shell starts with
    &, stays ignored, and so does a SIGHUP, as behind `nohup`.
    """
    with contextlib.ExitStack() as stack:
        for number, former in _handle(_raise).items():
            stack.callback(_restore, number, former)
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
    """Tells whether one of the signals has arrived in the current `terminable` block."""
    return bool(_noted)


def raise_if_arrived() -> None:
    """Raises the exception of a signal that has arrived: any other error may follow from it."""
    if _noted:
        raise _exception(_noted[0])


def at_end(act: Callable[[], object]) -> None:
    """Has this process call `act` when it ends, after one of the signals as well; after all that is
    registered with `atexit` from now on, unless a signal has arrived, which skips that.
    """
    atexit.register(act)
    _at_end.append(act)


def end_at_once(line: str) -> None:
    """From now on these signals end this process with 143 and 130, even while C++ code runs.

    `line` follows "terminated; " or "interrupted; " on stderr.
    """

    def end(exit_code: int) -> None:
        word = "terminated" if exit_code == TERMINATED else "interrupted"
        with contextlib.suppress(OSError):
            if select.select([], [2], [], 0.0)[1]:  # a full pipe would keep it here
                os.write(2, f"{word}; {line}\n".encode())
        os._exit(exit_code)

    # The handler sleeps, so that nothing goes on until the watching thread has ended the process.
    _handle(lambda number, frame: time.sleep(GRACE_S))
    _watch(end)


def _handle(handler: Callable[[int, object], None]) -> dict[int, Any]:
    handled = [
        number
        for number in _CODES
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]
    return {number: signal.signal(number, handler) for number in handled}


def _raise(number: int, frame: object) -> NoReturn:
    exit_code = _CODES[number]
    atexit.register(_end_without_destructors, exit_code)
    _noted.append(exit_code)
    _handle(lambda number, frame: None)  # not SIG_IGN, which children inherit
    raise _exception(exit_code)


def _restore(number: int, former: Any) -> None:
    if signal.getsignal(number) is _raise:  # none of them has arrived
        signal.signal(number, former)


def _exception(exit_code: int) -> BaseException:
    return Terminated() if exit_code == TERMINATED else KeyboardInterrupt()


def _end_without_destructors(exit_code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # nobody reads it, or it was closed
            stream.flush()
    _end(exit_code)


def _end(exit_code: int) -> NoReturn:
    try:
        for act in _at_end:
            act()
    finally:
        os._exit(exit_code)


def _watch(act: Callable[[int], None]) -> Callable[[], None]:
    """Has a thread call `act` with each signal's exit code; the returned function ends that."""
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
            if number[0] in _CODES:
                act(_CODES[number[0]])


def _end_in_time(exit_code: int) -> None:
    time.sleep(GRACE_S)
    _end(exit_code)
