"""What a GPU does for a run: the time of each component with it and without, and steps per second.

    python benchmarks/gpu.py DIR

DIR holds the IDX files of MNIST. Prints Markdown tables: the components' seconds of `fast` on the
GPUs and, with one epoch, on the same machine's CPU, and of `best` on the GPUs; then four epochs of
both presets as they are, in bfloat16 and compiled by XLA. Under 8 minutes on one H200.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import training
from presets import component_seconds
from processes import Run, measure_run

_OPTIONS = ("plain", "bfloat16", "jit_compile")
# A model of one epoch makes about as many errors as MNIST's own floor allows.
_LOW_FLOOR = ("--set", "gate.floor=0.95", "--reason", "one epoch measures time")
_EPOCHS = 4


def components(folder: Path) -> None:
    """Prints the table of the components' seconds."""
    runs = {
        "`fast`": measure_run(folder, "--preset", "fast"),
        "`fast`, one epoch, CPU": _on_the_cpu(folder),
        "`best`": measure_run(folder, "--preset", "best"),
    }
    print("| component |", " | ".join(runs), "|")
    print("| --- |", " | ".join("---" for _ in runs), "|")
    times = [component_seconds(run) for run in runs.values()]
    for name in times[0]:
        print(f"| {name} |", " | ".join(f"{seconds[name]:.1f} s" for seconds in times), "|")
    whole = " | ".join(f"{run.seconds:.0f} s" for run in runs.values())
    print("| the whole command |", whole, "|")
    accuracies = " | ".join(f"{run.printed['metrics']['accuracy']:.4f}" for run in runs.values())
    print("| test accuracy |", accuracies, "|", flush=True)


def _on_the_cpu(folder: Path) -> Run:
    seen = os.environ["CUDA_VISIBLE_DEVICES"]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as a user hides them
    try:
        return measure_run(folder, "--preset", "fast", "--set", "training.epochs=1", *_LOW_FLOOR)
    finally:
        os.environ["CUDA_VISIBLE_DEVICES"] = seen


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    components(folder)
    for preset in ("fast", "best"):
        print(f"\n`{preset}`, {_EPOCHS} epochs:\n", flush=True)
        training.table(folder, preset, _OPTIONS, epochs=_EPOCHS)


if __name__ == "__main__":
    main()
