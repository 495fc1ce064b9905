"""A search in runs of the pipeline on a very small data set: interrupted, resumed, cached."""

import dataclasses
import json
from pathlib import Path

import pytest

from components import serving_dir
from components.gate.policy import GateConfig
from pipeline import result
from pipeline.config import DataGateConfig, RunConfig
from pipeline.runners import local
from tests.pipeline.runners.watch import Watch
from trainer import loop
from trainer.hparams import HParams
from trainer.tuning.results import tuned
from trainer.tuning.settings import TuningConfig

pytestmark = pytest.mark.slow

HPARAMS = HParams(epochs=1, per_replica_batch=32, max_shift=0)


@pytest.fixture(scope="module")
def config(thirds: str, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(
        dataset=thirds,
        pipeline_root=str(tmp_path_factory.mktemp("tuning") / "root"),
        training=HPARAMS,
        tuning=TuningConfig(enabled=True, max_trials=3),
        gate=GateConfig(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0),
        data_gate=DataGateConfig(max_train_test_overlap=0.1),  # 1 of 60 is 0.017
    )


@dataclasses.dataclass(frozen=True)
class Runs:
    """A run that was interrupted in its second trial, and the one that went on."""

    left: list[str]
    trained: list[HParams]
    result: result.RunResult


@pytest.fixture(scope="module")
def runs(config: RunConfig) -> Runs:
    searches = Path(config.pipeline_root) / "tuning"
    trained: list[HParams] = []

    def fit(hparams, **arguments):
        trained.append(hparams)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(hparams, **arguments)

    real = loop.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.tuning.search.loop.train", fit)
        with pytest.raises(KeyboardInterrupt):
            local.run(config, run_id="run-1", observer=Watch())
        left = [path.name for path in searches.iterdir()]
        done = local.run(config, run_id="run-2", observer=Watch())
    return Runs(left, trained, done)


def test_the_search_goes_on_where_it_was_and_leaves_nothing(config, runs):
    assert len(runs.left) == 1
    assert len(runs.result.tuning.trials) == 3
    # The first trial once, the second one twice, the third one once; then the training itself.
    first, interrupted, resumed, _, _ = runs.trained
    assert first == HPARAMS
    assert interrupted == resumed
    assert not (Path(config.pipeline_root) / "tuning").exists()


def test_the_trainer_trains_with_what_was_found_and_the_release_says_so(config, runs):
    assert runs.result.outcome == result.RELEASED
    found = tuned(HPARAMS, runs.result.tuning.best.values)
    assert HParams(**runs.result.hparams) == runs.trained[-1] == found
    (version,) = serving_dir.versions(Path(runs.result.release.path).parent)
    assert version.manifest.release["training"] == found.to_config()


def test_the_picture_and_tfxs_own_table_lie_with_the_trials(runs):
    picture = Path(runs.result.tuning_plot)
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads((picture.parent / "tuner_results.json").read_text())
    assert len(rows) == 3


def test_the_same_search_is_taken_from_the_cache(config, runs):
    again = local.run(config, run_id="run-3", observer=Watch())
    assert again.outcome == result.UNCHANGED
    assert "Tuner" in again.cached
    assert again.tuning == runs.result.tuning


def test_another_search_is_searched(config, runs, monkeypatch):
    monkeypatch.setattr("trainer.tuning.search.loop.train", lambda *_, **__: 1 / 0)
    other = dataclasses.replace(config.tuning, objective="loss")
    done = local.run(dataclasses.replace(config, tuning=other), run_id="run-4", observer=Watch())
    assert (done.outcome, done.error) == ("failed", "Tuner: ZeroDivisionError: division by zero")


def test_a_worker_of_a_search_is_not_started_as_a_run(config, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
    with pytest.raises(local.CannotStart, match="KERASTUNER_TUNER_ID is 'tuner0', expected"):
        local.run(config, run_id="run-5", observer=Watch())
