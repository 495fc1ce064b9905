"""Times the whole pipeline beside the article's plain script, in turn, on this machine.

    python benchmarks/versus_article.py DIR [--preset fast] [--runs 3]

DIR holds MNIST's four IDX files. Each run of the pipeline gets a new pipeline root, so that nothing
comes from a cache: from the raw files to a published version. Prints a Markdown table with the
medians, and the median of the ratios pair by pair.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from processes import Run, measure, measure_run, medians, spread


def run_article(folder: Path, seed: int) -> Run:
    """The plain script, once."""
    script = str(Path(__file__).with_name("article.py"))
    return measure([sys.executable, script, str(folder), "--seed", str(seed)])


def accuracy(run: Run) -> float:
    """On test, 0..1, as either of them prints it."""
    return float(run.printed.get("metrics", run.printed)["accuracy"])


def row(name: str, runs: list[Run]) -> str:
    """A table row of medians."""
    seconds, cpu, gib = medians(runs)
    right = statistics.median(map(accuracy, runs))
    return f"| {name} | {seconds:.0f} s | {cpu:.0f} s | {gib:.2f} GiB | {right:.2%} |"


def main() -> None:
    """Runs both in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    article, pipeline = [], []
    for seed in range(arguments.runs):
        words = ("--preset", arguments.preset, "--seed", str(seed))
        article.append(run_article(arguments.folder, seed))
        pipeline.append(measure_run(arguments.folder, *words))
        for name, runs in (("article", article), ("pipeline", pipeline)):
            print(f"seed {seed}: {row(name, runs[-1:])}", file=sys.stderr)
    print("| | median wall time | median CPU time | peak memory | median test accuracy |")
    print("| --- | --- | --- | --- | --- |")
    print(row("plain script", article))
    print(row(f"the whole pipeline, `{arguments.preset}`", pipeline))
    pairs = list(zip(article, pipeline, strict=True))
    wall = [after.seconds / before.seconds for before, after in pairs]
    cpu = [after.cpu_seconds / before.cpu_seconds for before, after in pairs]
    print(f"\nWall time, pair by pair: {spread(wall)}\nCPU time, pair by pair: {spread(cpu)}")


if __name__ == "__main__":
    main()
