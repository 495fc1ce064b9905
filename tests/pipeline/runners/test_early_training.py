"""The process that a run starts for its training before the data are ready."""

import dataclasses
from pathlib import Path

import pytest

from components.data_gate.bounds import DataGateConfig
from pipeline import result
from pipeline.config import RunConfig
from pipeline.runners import local
from tests.pipeline.runners.watch import Looking, children_running
from tests.pipeline.thirds import LOW_FLOOR
from trainer import training_process
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

pytestmark = [pytest.mark.slow, pytest.mark.once]  # when a run starts and ends a process of ours


def refused(thirds: str, root: Path) -> RunConfig:
    """The data gate refuses it, because one training image is among the test images."""
    return RunConfig(
        dataset=thirds,
        pipeline_root=str(root),
        training=HParams(epochs=1, per_replica_batch=32),
        gate=LOW_FLOOR,
        data_gate=DataGateConfig(max_train_test_overlap=0.0),
    )


def test_it_starts_beside_the_first_components_unless_they_are_cached_and_a_refused_run_leaves_none(
    thirds, tmp_path
):
    config, watch = refused(thirds, tmp_path / "root"), Looking(training_process.__name__)
    done = local.run(config, run_id="run-1", observer=watch)
    assert (done.outcome, watch.started[-1]) == (result.REFUSED, "DataGate")
    (child,) = watch.children["ExampleGen"]
    assert watch.children["DataGate"] == [child]
    assert children_running(training_process.__name__) == []

    again = Looking(training_process.__name__)
    local.run(config, run_id="run-2", observer=again)
    assert again.finished["ExampleGen"]  # cached
    assert again.children["DataGate"] == []


def test_none_waits_for_the_end_of_a_search(thirds, tmp_path):
    watch = Looking(training_process.__name__)
    tuning = TuningConfig(enabled=True, max_trials=3)
    searching = dataclasses.replace(refused(thirds, tmp_path / "root"), tuning=tuning)
    local.run(searching, run_id="run-1", observer=watch)
    assert watch.children["DataGate"] == []
