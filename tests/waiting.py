"""Waits for what another process does."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(
    true: Callable[[], object],
    process: subprocess.Popen | None = None,
    *,
    log: Callable[[], str] = lambda: "",
    timeout_s: float = 300.0,
) -> None:
    """Fails with the log when the time is over, or when the process has ended before."""
    end = time.monotonic() + timeout_s
    while not true():
        assert process is None or process.poll() is None, log()
        assert time.monotonic() < end, log()
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended may wait for its parent to notice."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
