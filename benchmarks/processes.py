"""One command, measured with all the processes that it starts. Linux.

Synopsis::

    run = measure(pipeline_command(Path("mnist"), root, "--preset", "fast"))
    run.seconds, run.peak_gib, run.printed["metrics"]["accuracy"]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_INTERVAL_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Run(NamedTuple):
    """What a command came to.

    Attributes:
      seconds: wall time.
      cpu_seconds: of all its processes that have ended, user and system.
      peak_gib: largest sum of the resident memory of all its processes, sampled ten times a second;
        pages that two of them share count twice.
      printed: the JSON object on stdout; empty where there is none.
    """

    seconds: float
    cpu_seconds: float
    peak_gib: float
    printed: dict[str, Any]


def pipeline_command(folder: Path, root: str, *words: str) -> list[str]:
    """`tfx-mnist run --json` on IDX files, by this interpreter.

    Args:
      folder: holds the four files.
      root: the pipeline root.
      words: further arguments.
    """
    return [
        *(sys.executable, "-m", "pipeline.cli", "run", "--json"),
        *("--dataset", f"idx:{folder}", "--pipeline-root", root, *words),
    ]


def measure_run(folder: Path, *words: str) -> Run:
    """Measures one run of the pipeline in a pipeline root of its own, with nothing in the cache.

    Args:
      folder: holds the four IDX files.
      words: further arguments.

    Raises:
      SystemExit: the run released nothing.
    """
    with tempfile.TemporaryDirectory() as root:
        return measure(pipeline_command(folder, root, *words))


def measure(command: Sequence[str]) -> Run:
    """Runs it to its end.

    Raises:
      SystemExit: it ended with another exit code than 0.
    """
    start = time.monotonic()
    peaks: list[int] = [0]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, over, peaks))
        watch.start()
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        watch.join()
        if process.returncode:
            said.seek(0)
            (why,) = (printed or said.read()).splitlines()[-1:] or [b"no word"]
            code = process.returncode
            raise SystemExit(f"{' '.join(command)} ended with {code}: {why.decode()}")
    return Run(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # The kernel's own figure for the largest process misses no moment.
        peak_gib=max(max(peaks), usage.ru_maxrss * 1024) / 2**30,
        printed=json.loads(printed) if printed else {},
    )


def medians(runs: Sequence[Run]) -> tuple[float, float, float]:
    """Of the wall time and the CPU time in seconds, and of the peak memory in GiB."""
    seconds, cpu, gib = zip(*(run[:3] for run in runs), strict=True)
    return statistics.median(seconds), statistics.median(cpu), statistics.median(gib)


def spread(values: Sequence[float]) -> str:
    """Such as "1.02 (median; 0.98 to 1.10)"."""
    return f"{statistics.median(values):.2f} (median; {min(values):.2f} to {max(values):.2f})"


def _watch(pid: int, over: threading.Event, peaks: list[int]) -> None:
    while not over.wait(_INTERVAL_S):
        peaks.append(sum(map(_resident_bytes, _tree(pid))))


def _tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listing.read_text().split()
        except OSError:  # it has ended meanwhile
            continue
        for child in children:
            yield from _tree(int(child))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
