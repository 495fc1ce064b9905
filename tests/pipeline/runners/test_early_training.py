"""The process that a run starts for its training before the data are ready."""

import dataclasses
import os
from pathlib import Path

import pytest

from components.data_gate.bounds import DataGateConfig
from pipeline import result
from pipeline.config import RunConfig
from pipeline.runners import local
from tests.pipeline.runners.watch import Watch
from trainer import training_process
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

pytestmark = [pytest.mark.slow, pytest.mark.once]  # when a run starts and ends a process of ours


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


def refused(thirds: str, root: Path) -> RunConfig:
    """The data gate refuses it, because one training image is among the test images."""
    return RunConfig(
        dataset=thirds,
        pipeline_root=str(root),
        training=HParams(epochs=1, per_replica_batch=32),
        data_gate=DataGateConfig(max_train_test_overlap=0.0),
    )


def test_it_starts_beside_the_first_components_unless_they_are_cached_and_a_refused_run_leaves_none(
    thirds, tmp_path
):
    config, watch = refused(thirds, tmp_path / "root"), Looking()
    done = local.run(config, run_id="run-1", observer=watch)
    assert (done.outcome, watch.started[-1]) == (result.REFUSED, "DataGate")
    (child,) = watch.children["ExampleGen"]
    assert watch.children["DataGate"] == [child]
    assert children_that_train() == []

    again = Looking()
    local.run(config, run_id="run-2", observer=again)
    assert again.finished["ExampleGen"]  # cached
    assert again.children["DataGate"] == []


def test_none_waits_for_the_end_of_a_search(thirds, tmp_path):
    watch = Looking()
    tuning = TuningConfig(enabled=True, max_trials=3)
    searching = dataclasses.replace(refused(thirds, tmp_path / "root"), tuning=tuning)
    local.run(searching, run_id="run-1", observer=watch)
    assert watch.children["DataGate"] == []
