"""How time and memory grow with the training set: of a whole run, or of the components before it.

    python benchmarks/growth.py DIR [--preset fast] [--times 10] [--epochs N] [--runs 1]
    python benchmarks/growth.py --drawn 60000
    PYTHONPATH=. python benchmarks/growth.py --drawn 60000 --flink JARS

The first form repeats the training images of MNIST, whose four IDX files DIR holds, that many
times; test stays. It prints a Markdown table with the medians, and the ratios. The second form
draws images of 28x28 pixels, and prints a table of ExampleGen and StatisticsGen, in one process, in
two, or with `--flink` on a Flink cluster of two workers on this machine; JARS is the folder of its
classes (`make e2e-flink` fetches them into .flink).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import statistics
import struct
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from processes import Run, measure, measure_run, medians

from components.example_gen import idx

CLASSES, SIDE, TEST_ROWS = 10, 28, 1000
BEAM = {
    "one process": (),
    "two processes": ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
}
COMPONENTS = ("ExampleGen", "StatisticsGen")


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


def draw(folder: Path, rows: int) -> None:
    """Writes IDX files of that many different training images: a bright bar on noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for role, count in (("train", rows), ("t10k", TEST_ROWS)):
        labels = np.arange(count) % CLASSES
        images = rng.integers(0, 32, (count, SIDE, SIDE), np.uint8)
        images[np.arange(count)[:, None], 2 * labels[:, None] + np.arange(6), 6:22] += 200
        write_idx(folder, role, images, labels)


def write_idx(folder: Path, role: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes the two IDX files of a split."""
    for name, magic, values in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
        header = struct.pack(f">{1 + values.ndim}I", magic, *values.shape)
        content = header + values.astype(np.uint8).tobytes()
        (folder / f"{role}-{name}-ubyte").write_bytes(content)


def run_on_flink(component: str, folder: str, root: str, jars: str) -> None:
    """Does what `run_to` does on a Flink cluster that it starts and ends."""
    from tests.e2e.flink_cluster import Flink
    from tests.e2e.job_services import Processes

    with (
        tempfile.TemporaryDirectory() as logs,
        contextlib.closing(Processes(Path(logs))) as processes,
    ):
        run_to(component, folder, root, list(Flink(processes, Path(jars)).beam_args))


def cpu_seconds() -> float:
    """Returns the processor time of this process and of all that it started."""
    this = psutil.Process()
    return sum(sum(each.cpu_times()[:4]) for each in (this, *this.children(recursive=True)))


def run_to(component: str, folder: str, root: str, beam: list[str]) -> None:
    """Runs the pipeline up to a component, and prints the seconds of the last one."""
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import RunOptions

    from pipeline.config import RunConfig
    from pipeline.graph import create_pipeline
    from pipeline.run_plan import make_plan

    config = RunConfig(dataset=f"idx:{folder}", pipeline_root=root, beam_args=tuple(beam))
    pipeline = create_pipeline(make_plan(config, run_id="run-1"))
    pipeline.metadata_connection_config = metadata.sqlite_metadata_connection_config(
        str(config.metadata_path)
    )
    started = time.monotonic()
    LocalDagRunner().run(pipeline, run_options=RunOptions(to_nodes=[component]))
    print(json.dumps({"seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds()}))


def measure_data(rows: int, flink: str | None) -> None:
    """Prints the table of the drawn images; on Flink alone if `flink`, its jars, are given."""
    ways = {name: ("--run-to", beam) for name, beam in BEAM.items()}
    if flink:
        ways = {"Flink, two workers": ("--run-on-flink", (flink,))}
    print("| images | Beam in | component | wall time | CPU time | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as work:
        # Not in this process, whose children would count its peak memory as their own.
        drawing = get_context("spawn").Process(target=draw, args=(Path(work, "drawn"), rows))
        drawing.start()
        drawing.join()
        for name, (form, beam) in ways.items():
            for component in COMPONENTS:  # ExampleGen is in the cache for StatisticsGen
                words = [component, str(Path(work, "drawn")), str(Path(work, name)), *beam]
                run = measure([sys.executable, __file__, form, *words])
                print(
                    f"| {rows:,} | {name} | {component} | {run.printed['seconds']:.0f} s | "
                    f"{run.printed['cpu_seconds']:.0f} s | {run.peak_gib:.2f} GiB |",
                    flush=True,
                )


def row(name: str, runs: list[Run]) -> str:
    """A table row of medians."""
    seconds, cpu, gib = medians(runs)
    trainer = statistics.median(run.printed["seconds"]["Trainer"] for run in runs)
    return f"| {name} | {seconds:.0f} s | {trainer:.0f} s | {cpu:.0f} s | {gib:.2f} GiB |"


def measure_runs(folder: Path, preset: str, epochs: int | None, times: int, runs: int) -> None:
    """Runs both sizes in turn and prints the table."""
    words = ["--preset", preset]
    if epochs:
        words += ["--set", f"training.epochs={epochs}"]
    small, large = [], []
    with tempfile.TemporaryDirectory() as work:
        repeated = repeat(folder, Path(work, "repeated"), times)
        for _ in range(runs):
            small.append(measure_run(folder, *words))
            print(row("as it is", small[-1:]), file=sys.stderr)
            large.append(measure_run(repeated, *words))
            print(row("repeated", large[-1:]), file=sys.stderr)
    print("| `train` | wall time | of it Trainer | CPU time | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    print(row("as it is", small))
    print(row(f"{times} times over", large))
    pairs = list(zip(small, large, strict=True))
    for name, of in (("Wall", "seconds"), ("CPU", "cpu_seconds"), ("Memory", "peak_gib")):
        ratios = [getattr(after, of) / getattr(before, of) for before, after in pairs]
        print(f"\n{name} grew {statistics.median(ratios):.2f} times.")


def main() -> None:
    """Measures one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", type=Path, nargs="?")
    what.add_argument("--drawn", type=int, help="draw that many training images")
    parser.add_argument("--flink", metavar="JARS", help="with --drawn: on Flink")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.drawn:
        measure_data(arguments.drawn, arguments.flink)
    else:
        measure_runs(
            arguments.folder,
            arguments.preset,
            arguments.epochs,
            arguments.times,
            arguments.runs,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run-to"]:  # a child of `measure_data`
        run_to(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    elif sys.argv[1:2] == ["--run-on-flink"]:
        run_on_flink(*sys.argv[2:6])
    else:
        main()
