"""A second run, with everything taken from the cache, against the pure import of what it needs.

    python benchmarks/cached_run.py DIR [--preset fast] [--runs 5] [--pipeline-root ROOT]

DIR holds the four IDX files of a data set. The pipeline runs once, unless ROOT holds such a run;
then the same command, and a process that imports the modules which that command had imported at its
end and does nothing else, are timed in turn. Prints the medians and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from processes import measure, medians, pipeline_command, spread

# The command, and at its end the names of all that it has imported, in their order.
_LISTED = """
import json, runpy, sys
target = sys.argv.pop(1)
started = set(sys.modules)
try:
    runpy.run_module("pipeline.cli", run_name="__main__", alter_sys=True)
finally:
    names = [name for name in sys.modules if name not in started and name != "__main__"]
    json.dump(names, open(target, "w"))
"""
_IMPORTS = """
import contextlib, importlib, json, sys
for name in json.load(open(sys.argv[1])):
    with contextlib.suppress(Exception):  # names such as six.moves.x, that no import statement has
        importlib.import_module(name)
"""


def list_imports(command: list[str], target: str) -> None:
    """Runs it, and writes what it imports to `target`."""
    measure([sys.executable, "-c", _LISTED, target, *command[3:]])


def main() -> None:
    """Runs, lists, times, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pipeline-root")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        root = arguments.pipeline_root or os.path.join(work, "root")
        command = pipeline_command(arguments.folder, root, "--preset", arguments.preset)
        if not arguments.pipeline_root:
            measure(command)
        names = os.path.join(work, "imports.json")
        list_imports(command, names)
        count = len(json.loads(Path(names).read_text()))
        cached, imports = [], []
        for _ in range(arguments.runs):
            cached.append(measure(command))
            if cached[-1].printed["outcome"] != "unchanged":
                raise SystemExit(f"the second run was {cached[-1].printed['outcome']}")
            imports.append(measure([sys.executable, "-c", _IMPORTS, names]))
    print(f"| median of {arguments.runs} | wall time | CPU time |\n| --- | --- | --- |")
    for name, runs in (("second run", cached), (f"import of {count:,} modules", imports)):
        wall, cpu, _ = medians(runs)
        print(f"| {name} | {wall:.2f} s | {cpu:.2f} s |")
    ratios = [one.seconds / other.seconds for one, other in zip(cached, imports, strict=True)]
    print(f"\nPair by pair: {spread(ratios)}")


if __name__ == "__main__":
    main()
