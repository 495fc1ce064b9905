"""The whole pipeline per preset: accuracy over seeds, time of each component, peak memory.

    python benchmarks/presets.py DIR [--presets fast article] [--seeds 5]

DIR holds the four IDX files of a data set. Each run gets a pipeline root of its own. Prints three
Markdown tables: the runs, what they come to, and the medians of the components' times.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from processes import Run, measure_run, medians

_REST = "imports, start, the runner"


def run_row(preset: str, seed: int, run: Run) -> str:
    """A row of the table of runs."""
    metrics = run.printed["metrics"]
    return (
        f"| `{preset}` | {seed} | {metrics['accuracy']:.4f} | {metrics['cross_entropy']:.4f} "
        f"| {run.seconds:.0f} s | {run.cpu_seconds:.0f} s | {run.peak_gib:.2f} GiB |"
    )


def preset_row(preset: str, runs: list[Run]) -> str:
    """Mean and standard deviation of a preset's accuracy; medians of the rest."""
    right = [run.printed["metrics"]["accuracy"] for run in runs]
    deviation = f"{statistics.stdev(right):.2%}" if len(right) > 1 else "unknown"
    seconds, cpu, gib = medians(runs)
    return (
        f"| `{preset}` | {len(runs)} | {statistics.mean(right):.2%} | {deviation} "
        f"| {seconds:.0f} s | {cpu:.0f} s | {gib:.2f} GiB |"
    )


def component_rows(runs: Mapping[str, list[Run]]) -> Iterator[str]:
    """A row per component with each preset's median seconds."""
    times = {preset: [component_seconds(run) for run in some] for preset, some in runs.items()}
    for name in next(iter(times.values()))[0]:
        columns = (statistics.median(run[name] for run in some) for some in times.values())
        yield f"| {name} | " + " | ".join(f"{value:.1f} s" for value in columns) + " |"


def component_seconds(run: Run) -> dict[str, float]:
    """By component, and what is none of them."""
    seconds = dict(run.printed["seconds"])
    del seconds["total"]
    return seconds | {_REST: run.seconds - sum(seconds.values())}


def main() -> None:
    """Runs them all, seed by seed and the presets in turn, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", nargs="+", default=["fast", "article"])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    runs: dict[str, list[Run]] = {preset: [] for preset in arguments.presets}
    print("| preset | seed | test accuracy | cross-entropy | wall time | CPU time | peak memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seed in range(arguments.seeds):
        for preset, done in runs.items():
            words = ("--preset", preset, "--seed", str(seed))
            done.append(measure_run(arguments.folder, *words))
            print(run_row(preset, seed, done[-1]), flush=True)
    print("\n| preset | seeds | mean accuracy | sd | wall time | CPU time | peak memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for preset, done in runs.items():
        print(preset_row(preset, done))
    print("\n| median wall time | " + " | ".join(f"`{preset}`" for preset in runs) + " |")
    print("| --- |" + " --- |" * len(runs))
    for line in component_rows(runs):
        print(line)


if __name__ == "__main__":
    main()
