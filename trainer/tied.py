"""A process that does not outlive the one that started it with a pipe as its standard input."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(exit_code: int) -> None:
    """From now on, ends this process when the one at the other end of its stdin has ended.

    On Linux also while no Python code can run: TensorFlow holds the interpreter's lock while it
    waits for other machines. Linux kills this process when the *thread* that started it ends, so
    the parent must start it in a thread that lives as long as the parent (prctl(2),
    PR_SET_PDEATHSIG).
    """

    def wait() -> None:
        os.read(0, 1)  # sys.stdin has a lock, which would be held when the interpreter ends
        os._exit(exit_code)

    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=wait, daemon=True).start()
