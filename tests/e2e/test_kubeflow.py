"""The compiled pipeline in real containers, beside the local run of the same image.

`make e2e-kubeflow` builds the image and says where it and kfp are.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import serving_dir
from tests.e2e import image
from tests.e2e.idx_folders import shuffle_labels, write_idx
from tests.e2e.runs import PATIENT

pytestmark = [pytest.mark.e2e, image.needed]

# The runs, one after the other on one serving directory. Another seed may be worse by chance.
LENIENT = ("--set", "gate.floor=0.9", "--set", "gate.max_drop=0.1", "--reason", "another seed")
RUNS = {
    "first": ("--seed", "1"),
    "second": ("--seed", "2", *LENIENT),
    "poisoned": (
        *("--dataset", "idx:{noisy}", "--set", "training.epochs=3"),
        *("--set", "data_gate.max_label_noise=1"),  # the data gate would stop it first
    ),
}


@dataclasses.dataclass(frozen=True)
class Done:
    """The exit code, and what `--json` printed."""

    code: int
    result: dict

    @property
    def checks(self) -> dict[str, bool]:
        # Latency and memory are measured, and their checks' answers alone are compared.
        return {check["name"]: check["passed"] for check in self.result["gate"]["checks"]}

    @property
    def failed(self) -> list[str]:
        return [name for name, passed in self.checks.items() if not passed]


def _done(command: list[str]) -> Done:
    process = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    lines = process.stdout.splitlines()
    assert lines, process.stderr[-3000:]
    result = json.loads(lines[-1])
    if process.returncode not in (0, 3):  # no decision: its log goes with the test's folder
        log = Path(command[command.index("--pipeline-root") + 1], "logs", f"{result['run_id']}.log")
        pytest.fail(f"{result['error']}\n{log.read_text()[-5000:]}")
    return Done(process.returncode, result)


def in_containers(*words: str) -> Done:
    """`tfx-mnist kubeflow local`: each task in a container."""
    program = [sys.executable, "-m", "pipeline.cli", "kubeflow", "local", "--json"]
    return _done([*program, "--image", image.NAME, "--kfp-python", image.KFP_PYTHON, *words])


def by_beam(folder: Path, *words: str) -> Done:
    """`tfx-mnist run` in one container of the same image: the same libraries, another runner."""
    options = {
        "user": f"{os.getuid()}:{os.getgid()}",
        "volumes": {str(folder): {"bind": str(folder), "mode": "rw"}},
    }
    return _done(image.command(["tfx-mnist", "run", "--json", *words], **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow")


class Runs:
    """The runs of one runner on one serving directory, each done when it is first asked for."""

    def __init__(self, root: Path, noisy: Path, runner: Callable[..., Done]) -> None:
        self.serving_dir = root / "serving"
        self._places = ["--pipeline-root", str(root), "--serving-dir", str(self.serving_dir)]
        self._noisy = noisy
        self._runner = runner
        self._done: dict[str, Done] = {}

    def __getitem__(self, name: str) -> Done:
        for earlier, given in RUNS.items():
            if earlier not in self._done:
                words = (word.format(noisy=self._noisy) for word in given)
                self._done[earlier] = self._runner(
                    "--deterministic", *PATIENT, *self._places, *words
                )
            if earlier == name:
                break
        return self._done[name]


@pytest.fixture(scope="module")
def noisy(folder: Path) -> Path:
    return write_idx(folder / "noisy", change_train=shuffle_labels)


@pytest.fixture(scope="module")
def containers(folder: Path, noisy: Path) -> Runs:
    return Runs(folder / "containers", noisy, in_containers)


@pytest.fixture(scope="module")
def beam(folder: Path, noisy: Path) -> Runs:
    return Runs(folder / "beam", noisy, functools.partial(by_beam, folder))


def test_the_embedded_sample_becomes_version_1_every_task_in_a_container(containers):
    first = containers["first"]
    path = containers.serving_dir / "1"
    assert (first.code, first.result["outcome"]) == (0, "released")
    assert first.result["release"] == {"version": 1, "path": str(path)}
    assert len(first.result["seconds"]) == 14 + 1  # and the total
    version = serving_dir.versions(path.parent, check_files=True)[0]
    assert version.problems == ()
    assert version.manifest.release["baseline"] is None


def test_the_second_run_is_compared_with_version_1(containers):
    second = containers["second"]
    assert (second.code, second.result["outcome"]) == (0, "released")
    assert {"not_worse", "max_drop", "class_change.0"} <= set(second.checks)
    newest = serving_dir.newest_valid(containers.serving_dir)
    assert (newest.number, newest.manifest.release["baseline"]["version"]) == (2, 1)


def test_a_poisoned_run_is_refused_and_what_is_served_stays(containers):
    poisoned = containers["poisoned"]
    assert (poisoned.code, poisoned.result["outcome"]) == (3, "refused")
    assert poisoned.result["release"] is None
    assert "not_worse" in poisoned.failed
    versions = serving_dir.versions(containers.serving_dir, check_files=True)
    assert [(v.number, v.problems) for v in versions] == [(1, ()), (2, ())]


@pytest.mark.parametrize("name", RUNS)
def test_decision_metrics_and_checks_are_those_of_the_local_beam_run(
    containers, beam, capsys, name
):
    ours, beams = containers[name], beam[name]
    with capsys.disabled():
        for runner, run in (("containers", ours), ("one process", beams)):
            print(
                f"\n{name}, {runner}: {run.result['outcome']}, exit code {run.code}, accuracy "
                f"{run.result['metrics']['accuracy']}, {run.result['seconds']['total']:.0f} s",
                end="",
            )
    assert (ours.code, ours.result["outcome"]) == (beams.code, beams.result["outcome"])
    assert ours.result["dataset"]["splits"] == beams.result["dataset"]["splits"]
    assert ours.result["hparams"] == beams.result["hparams"] is not None
    metrics, expected = dict(ours.result["metrics"]), dict(beams.result["metrics"])
    assert metrics.pop("by_class") == expected.pop("by_class")
    # The Evaluator sums floats in whatever batches Beam makes.
    assert metrics == pytest.approx(expected, rel=1e-6)
    assert ours.checks == beams.checks
