"""A stand-in for the Python that runs kfp, and a run in its containers."""

import stat
import sys
import textwrap
from pathlib import Path

from pipeline import result
from pipeline.config_model import build
from pipeline.runners.kubeflow import containers
from pipeline.runners.kubeflow.containers import LocalOptions
from tests.pipeline.runners.watch import Watch


def write_kfp_python(folder: Path, code: str = "", check: str = "", code_of_check: int = 0) -> str:
    """A `--kfp-python` that answers `check` with yes, and then does what a test says.

    The code may use `order`, which is the run's, and `say` and `leave`, which do as a task does.
    """
    path = folder / "kfp-python"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, re, sys\n"
        "verb, order = sys.argv[3:5]\n"
        f"if verb == 'check': print({check!r} or 'own/' + order); sys.exit({code_of_check})\n"
        "order = json.loads(order); home = pathlib.Path(order['pipeline_root'])\n"
        "def say(task, text): print(f'    tfx-mnist: {task}: {text}', flush=True)\n"
        "def leave(task, parameters={}, artifacts={}):\n"
        "    id_ = re.sub('(?<!^)(?=[A-Z])', '-', task).lower()\n"
        "    folder = home / 'run' / id_; folder.mkdir(parents=True)\n"
        "    message = {'parameterValues': parameters, 'artifacts': {\n"
        "        key: {'artifacts': [{'uri': str(folder / key), 'metadata': one}]}\n"
        "        for key, one in artifacts.items()}}\n"
        "    (folder / 'executor_output.json').write_text(json.dumps(message))\n"
        + textwrap.dedent(code)
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def run_in_containers(root: Path, python: str, **overrides) -> tuple[result.RunResult, Watch]:
    """A run of the preset `quick`, and what its watcher saw."""
    watch = Watch()
    outcome = containers.run(
        build("quick", {"pipeline_root": str(root), **overrides}),
        overrides,
        LocalOptions(image="image:1", kfp_python=python, user="7:7"),
        run_id="run-1",
        observer=watch,
    )
    return outcome, watch
