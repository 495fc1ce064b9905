"""A process that does not outlive the one that started it with a pipe as its standard input."""

from __future__ import annotations

import os
import threading


def end_with_parent(exit_code: int) -> None:
    """From now on, ends this process when the one at the other end of its stdin has ended."""

    def wait() -> None:
        os.read(0, 1)  # sys.stdin has a lock, which would be held when the interpreter ends
        os._exit(exit_code)

    threading.Thread(target=wait, daemon=True).start()
