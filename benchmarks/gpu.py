"""What a GPU does for a run: the time of each component with it and without, and steps per second.

    python benchmarks/gpu.py DIR

DIR holds the IDX files of MNIST. Prints Markdown tables: the components' seconds of `fast` on the
GPUs and, with one epoch, on the same machine's CPU, and of `best` on the GPUs; then four epochs of
both presets as they are, in bfloat16 and compiled by XLA. Under 8 minutes on one H200.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import training
from presets import component_seconds
from processes import Run, measure_run

from trainer.environment import GPU_FILES, gpu_files

_OPTIONS = ("plain", "bfloat16", "jit_compile")
# A model of one epoch makes about as many errors as MNIST's own floor allows.
_LOW_FLOOR = ("--set", "gate.floor=0.95", "--reason", "one epoch measures time")
_EPOCHS = 4


def components(folder: Path) -> None:
    """Prints the components' seconds, a row as soon as a run has ended."""
    runs: dict[str, Callable[[], Run]] = {
        "`fast`": lambda: measure_run(folder, "--preset", "fast"),
        "`fast`, one epoch, CPU": lambda: _on_the_cpu(folder),
        "`best`": lambda: measure_run(folder, "--preset", "best"),
    }
    names: list[str] = []
    for title, make in runs.items():
        run = make()
        seconds = component_seconds(run)
        if not names:
            names = list(seconds)
            print("| run |", " | ".join(names), "| the whole command | test accuracy |")
            print("| --- |" + " --- |" * (len(names) + 2))
        times = " | ".join(f"{seconds[name]:.1f} s" for name in names)
        accuracy = run.printed["metrics"]["accuracy"]
        print(f"| {title} | {times} | {run.seconds:.0f} s | {accuracy:.4f} |", flush=True)


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
    if not gpu_files():
        parser.error(
            f"there is no GPU: no {GPU_FILES}, or CUDA_VISIBLE_DEVICES hides all; "
            "`tfx-mnist doctor` says what this machine has"
        )
    components(folder)
    for preset in ("fast", "best"):
        print(f"\n`{preset}`, {_EPOCHS} epochs:\n", flush=True)
        training.table(folder, preset, _OPTIONS, epochs=_EPOCHS)


if __name__ == "__main__":
    main()
