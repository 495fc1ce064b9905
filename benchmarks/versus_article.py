"""Times the whole pipeline beside the article's plain script, in turn, on this machine.

    python benchmarks/versus_article.py DIR [--preset fast] [--runs 3]

DIR holds MNIST's four IDX files. Each run of the pipeline gets a new pipeline root, so that nothing
comes from a cache: from the raw files to a published version. Prints a Markdown table with the
medians, and the median of the ratios pair by pair.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One process: wall time in seconds, peak resident memory in GB, accuracy on test in 0..1."""

    seconds: float
    gigabytes: float
    accuracy: float


def measure(command: list[str]) -> tuple[float, float, dict]:
    """(wall seconds, peak GB, the JSON object that it printed)."""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {printed.decode()}")
    return time.monotonic() - start, usage.ru_maxrss / 1e6, json.loads(printed)


def run_article(folder: Path, seed: int) -> Run:
    """The plain script, once."""
    script = str(Path(__file__).with_name("article.py"))
    seconds, gigabytes, result = measure([sys.executable, script, str(folder), "--seed", str(seed)])
    return Run(seconds, gigabytes, result["accuracy"])


def run_pipeline(folder: Path, preset: str, seed: int) -> Run:
    """The whole pipeline, once, from nothing."""
    with tempfile.TemporaryDirectory() as root:
        seconds, gigabytes, result = measure(
            [
                *(sys.executable, "-m", "pipeline.cli", "run", "--json", "--preset", preset),
                *("--dataset", f"idx:{folder}", "--pipeline-root", root, "--seed", str(seed)),
            ]
        )
    return Run(seconds, gigabytes, result["metrics"]["accuracy"])


def row(name: str, runs: list[Run]) -> str:
    """A table row of medians."""
    seconds, gigabytes, accuracy = (statistics.median(values) for values in zip(*runs, strict=True))
    return f"| {name} | {seconds:.0f} s | {gigabytes:.2f} GB | {accuracy:.2%} |"


def main() -> None:
    """Runs both in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    article, pipeline = [], []
    for seed in range(arguments.runs):
        article.append(run_article(arguments.folder, seed))
        pipeline.append(run_pipeline(arguments.folder, arguments.preset, seed))
        print(f"seed {seed}: article {article[-1]}, pipeline {pipeline[-1]}", file=sys.stderr)
    ratios = [b.seconds / a.seconds for a, b in zip(article, pipeline, strict=True)]
    print(f"Medians of {arguments.runs} runs in turn, {os.cpu_count()} cores, "
          f"Python {sys.version.split()[0]}:\n")  # fmt: skip
    print("| what | wall | peak memory | test accuracy |\n| --- | --- | --- | --- |")
    print(row("plain article script", article))
    print(row(f"whole pipeline, preset {arguments.preset}", pipeline))
    print(f"\nRatio of wall times, pair by pair: median {statistics.median(ratios):.2f}, "
          f"{min(ratios):.2f} to {max(ratios):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
