"""How time and memory of a whole run grow with the training set.

    python benchmarks/growth.py DIR [--preset fast] [--times 10] [--epochs N] [--runs 1]

DIR holds MNIST's four IDX files. The training images are repeated that many times; test stays.
Prints a Markdown table with the medians, and the ratios.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import struct
import sys
import tempfile
from pathlib import Path

from processes import Run, measure_run

from components.example_gen import idx


def repeat(source: Path, target: Path, times: int) -> Path:
    """The four IDX files of `source` again, `train` as many times over."""
    target.mkdir()
    for path in idx.find_files(source):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.name.startswith("train"):
            header = 16 if "images" in path.name else 8
            magic, rows = struct.unpack_from(">II", content)
            sizes = struct.pack(">II", magic, rows * times) + content[8:header]
            content = sizes + content[header:] * times
        name = path.name if path.suffix == ".gz" else f"{path.name}.gz"
        (target / name).write_bytes(gzip.compress(content, compresslevel=1))
    return target


def row(name: str, runs: list[Run]) -> str:
    """A table row of medians."""
    seconds, cpu, gib = (
        statistics.median(values) for values in zip(*(r[:3] for r in runs), strict=True)
    )
    trainer = statistics.median(run.printed["seconds"]["Trainer"] for run in runs)
    return f"| {name} | {seconds:.0f} s | {trainer:.0f} s | {cpu:.0f} s | {gib:.2f} GiB |"


def main() -> None:
    """Runs both sizes in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args()
    words = ["--preset", arguments.preset]
    if arguments.epochs:
        words += ["--set", f"training.epochs={arguments.epochs}"]
    small, large = [], []
    with tempfile.TemporaryDirectory() as work:
        repeated = repeat(arguments.folder, Path(work, "repeated"), arguments.times)
        for _ in range(arguments.runs):
            small.append(measure_run(arguments.folder, *words))
            print(row("as it is", small[-1:]), file=sys.stderr)
            large.append(measure_run(repeated, *words))
            print(row("repeated", large[-1:]), file=sys.stderr)
    print("| `train` | wall time | of it Trainer | CPU time | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    print(row("as it is", small))
    print(row(f"{arguments.times} times over", large))
    pairs = list(zip(small, large, strict=True))
    for name, of in (("Wall", "seconds"), ("CPU", "cpu_seconds"), ("Memory", "peak_gib")):
        ratios = [getattr(after, of) / getattr(before, of) for before, after in pairs]
        print(f"\n{name} grew {statistics.median(ratios):.2f} times.")


if __name__ == "__main__":
    main()
