"""A search in runs of the pipeline on a very small data set: interrupted, resumed, cached."""

import dataclasses
import json
import logging
import signal
import threading
from pathlib import Path

import pytest

from components import serving_dir
from pipeline import result
from pipeline.config import RunConfig
from pipeline.runners import local
from pipeline.runners.failures import CannotStart
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import TRAINING, short_run
from trainer import progress
from trainer.hparams import HParams
from trainer.tuning.results import tuned
from trainer.tuning.settings import TuningConfig

pytestmark = [pytest.mark.slow, pytest.mark.once_newer]  # tests/e2e/test_tuning.py

HPARAMS = dataclasses.replace(TRAINING, epochs=2)


@pytest.fixture(scope="module")
def config(thirds: str, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    tuning = TuningConfig(enabled=True, max_trials=3)
    root = tmp_path_factory.mktemp("tuning") / "root"
    return short_run(thirds, root, training=HPARAMS, tuning=tuning)


@dataclasses.dataclass(frozen=True)
class Runs:
    """A run that was interrupted in its second trial, and the one that went on.

    Attributes:
      left: the searches that the interrupted run has left.
      epochs: how many epochs each run has reported while it searched.
    """

    left: list[str]
    epochs: tuple[int, int]
    result: result.RunResult


class Interrupting(Watch):
    """Counts the epochs of the search; sends Ctrl-C after one of them."""

    def __init__(self, after: int | None = None) -> None:
        super().__init__()
        self.epochs, self._after = 0, after
        self.handler = logging.Handler()
        self.handler.emit = self._emit

    def _emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "progress", None)
        if state is not None and state.epoch_ended and self.started[-1] == "Tuner":
            self.epochs += 1
            if self.epochs == self._after:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def run(config: RunConfig, run_id: str, watch: Interrupting) -> result.RunResult:
    progress.LOGGER.addHandler(watch.handler)
    progress.LOGGER.setLevel(logging.INFO)
    try:
        return local.run(config, run_id=run_id, observer=watch)
    finally:
        progress.LOGGER.setLevel(logging.NOTSET)
        progress.LOGGER.removeHandler(watch.handler)


@pytest.fixture(scope="module")
def runs(config: RunConfig) -> Runs:
    searches = Path(config.pipeline_root) / "tuning"
    first, second = Interrupting(after=HPARAMS.epochs + 1), Interrupting()
    # What a shell starts with & ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        run(config, "run-1", first)
    signal.signal(signal.SIGINT, before)
    left = [path.name for path in searches.iterdir()]
    done = run(config, "run-2", second)
    return Runs(left, (first.epochs, second.epochs), done)


def test_the_search_goes_on_where_it_was_and_leaves_nothing(config, runs):
    assert len(runs.left) == 1
    assert len(runs.result.tuning.trials) == 3
    interrupted, resumed = runs.epochs
    assert resumed <= 3  # none of the first trial's two, and the second one's last at most
    assert interrupted + resumed in (5, 6)  # of 3 * 2; one may have ended without a reader
    assert not (Path(config.pipeline_root) / "tuning").exists()


def test_the_trainer_trains_with_what_was_found_and_the_release_says_so(runs):
    assert runs.result.outcome == result.RELEASED
    found = tuned(HPARAMS, runs.result.tuning.best.values)
    assert HParams(**runs.result.hparams) == found
    (version,) = serving_dir.versions(Path(runs.result.release.path).parent)
    assert version.manifest.release["training"] == found.to_record()


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


def test_a_worker_of_a_search_is_not_started_as_a_run(config, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
    with pytest.raises(CannotStart, match="KERASTUNER_TUNER_ID is 'tuner0', expected"):
        local.run(config, run_id="run-5", observer=Watch())
