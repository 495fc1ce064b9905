"""The process that a run starts for its training before the data are ready."""

import dataclasses
import os
from pathlib import Path

import pytest

from pipeline import result
from pipeline.config import DataGateConfig, RunConfig
from pipeline.runners import local
from tests.pipeline.runners.watch import Watch
from trainer import training_process
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

pytestmark = pytest.mark.slow


def children_that_train() -> list[int]:
    """The numbers of this process's children that run `trainer.training_process`."""
    found = []
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        parent = stat.rpartition(")")[2].split()[1]
        if int(parent) == os.getpid() and training_process.__name__.encode() in words:
            found.append(pid)
    return found


class Looking(Watch):
    """Looks for children when a component begins."""

    def __init__(self) -> None:
        super().__init__()
        self.children: dict[str, list[int]] = {}

    def component_started(self, name: str) -> None:
        super().component_started(name)
        self.children[name] = children_that_train()


@pytest.fixture
def refused(thirds: str, tmp_path: Path) -> RunConfig:
    """The data gate refuses it, because one training image is among the test images."""
    return RunConfig(
        dataset=thirds,
        pipeline_root=str(tmp_path / "root"),
        training=HParams(epochs=1, per_replica_batch=32),
        data_gate=DataGateConfig(max_train_test_overlap=0.0),
    )


def test_it_starts_beside_the_first_components_and_a_refused_run_leaves_none(refused):
    watch = Looking()
    done = local.run(refused, run_id="run-1", observer=watch)
    assert (done.outcome, watch.started[-1]) == (result.REFUSED, "DataGate")
    (child,) = watch.children["ExampleGen"]
    assert watch.children["DataGate"] == [child]
    assert children_that_train() == []


def test_a_run_whose_data_are_in_the_cache_starts_none(refused):
    local.run(refused, run_id="run-1", observer=Watch())
    watch = Looking()
    local.run(refused, run_id="run-2", observer=watch)
    assert watch.finished["ExampleGen"]  # cached
    assert watch.children["DataGate"] == []


def test_none_waits_for_the_end_of_a_search(refused):
    watch = Looking()
    searching = dataclasses.replace(refused, tuning=TuningConfig(enabled=True, max_trials=3))
    local.run(searching, run_id="run-1", observer=watch)
    assert watch.children["DataGate"] == []
