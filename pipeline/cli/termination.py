"""SIGTERM ends a run within seconds, wherever it is.

Synopsis::

    with terminable():
        ...     # raises Terminated when SIGTERM arrives

All that a run has finished is on disk at any moment, so that it may end at any moment as well. The
exception is the polite way: it removes what is half done, and one line says what happened. But it
has to wait for a call into C++ to return, and Python's own end waits for the threads of a Beam
pipeline. So a thread watches, and ends the process when the time is up. The thread itself ends with
Python, and destructors of C++ libraries, which wait as well, come later: these are skipped.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

TERMINATED = 128 + signal.SIGTERM  # 143, as shells count
GRACE_S = 8.0  # container runtimes send SIGKILL after 10 s or more


class Terminated(BaseException):
    """SIGTERM has arrived."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises `Terminated` inside when SIGTERM arrives; only in the main thread."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the C handler at once, also while Python code cannot run in this thread.
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, _terminate)
    watcher = threading.Thread(target=_end_in_time, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writer)
        watcher.join(0.1)  # ends at once, unless the grace is running


def _terminate(signum: int, frame: object) -> NoReturn:
    atexit.register(_end_without_destructors)
    raise Terminated


def _end_without_destructors() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(TERMINATED)


def _end_in_time(reader: int) -> None:
    """Waits for SIGTERM, or for the block's end, and after the grace ends the process."""
    with open(reader, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] == signal.SIGTERM:
                time.sleep(GRACE_S)
                os._exit(TERMINATED)
