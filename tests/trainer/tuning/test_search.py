"""Searches over a very small data set, interrupted in every way."""

import dataclasses
import types

import pytest
import tensorflow as tf

from tests.trainer.samples import SPEC
from trainer import loop, progress, training
from trainer.checkpoints import Checkpoints
from trainer.device_memory import OutOfMemory
from trainer.hparams import HParams
from trainer.job import Job
from trainer.loop import TrainingDiverged
from trainer.strategy import mirrored_strategy
from trainer.tuning import search as search_module
from trainer.tuning.search import TrialBroke, open_search
from trainer.tuning.settings import TuningConfig
from trainer.tuning.tuner_fn import tuner_fn

# Ours, and keras-tuner, which is the same on both generations; a search of another process, and one
# of a run, are made on both.
pytestmark = [pytest.mark.slow, pytest.mark.once]

HPARAMS = HParams(epochs=1, per_replica_batch=32)
SETTINGS = TuningConfig(enabled=True, max_trials=3)


class Killed(BaseException):
    """Stands for the end of the process."""


def fn_args(
    prepared, searches, settings=SETTINGS, hparams=HPARAMS, seed=3, replicas=0, code="0", **files
):
    """What TFX's Tuner gives."""
    return {
        "train_files": [files.get("train", prepared.train_files)],
        "eval_files": [files.get("eval", prepared.eval_files)],
        "transform_graph_path": prepared.transform_output,
        "custom_config": {
            "spec": SPEC.to_config(),
            "hparams": hparams.to_config(),
            "tuning": dataclasses.asdict(settings),
            "seed": seed,
            "replicas": replicas,
            "code": code * 64,
            "searches": str(searches),
        },
    }


def opener(prepared, splits, searches):
    """Opens a search as TFX's Tuner does, and as one that trains here: (search, its splits)."""

    def open_(**changes):
        given = types.SimpleNamespace(**fn_args(prepared, searches, **changes))
        job, folder = Job.from_fn_args(given), tuner_fn(given).tuner.folder
        return open_search(job, folder, strategy), splits

    strategy = mirrored_strategy()
    return open_


@pytest.fixture(scope="module")
def splits(prepared):
    """Those of every search here, which none of them changes."""
    given = types.SimpleNamespace(**fn_args(prepared, "no searches"))
    return training.load_splits(Job.from_fn_args(given))


@pytest.fixture
def opened(prepared, splits, tmp_path):
    return opener(prepared, splits, tmp_path / "tuning")


def watched(patch):
    """The hyper-parameters and the epochs of every training, in order; one may be made to raise by
    its number.
    """
    seen, raising, histories = [], {}, []

    def fit(hparams, **arguments):
        seen.append(hparams)
        if len(seen) in raising:
            raise raising[len(seen)]
        model, history = real(hparams, **arguments)
        histories.append(history)
        return model, history

    real = loop.train
    patch.setattr(search_module.loop, "train", fit)
    return types.SimpleNamespace(hparams=seen, raising=raising, histories=histories)


@pytest.fixture
def trained(monkeypatch):
    return watched(monkeypatch)


def without_seconds(trials):
    return [dataclasses.replace(trial, seconds=None) for trial in trials]


def searched(opened, **changes):
    search, splits = opened(**changes)
    search.search(**splits)
    return list(search.results().trials)


@pytest.fixture(scope="module")
def unbroken(prepared, splits, tmp_path_factory):
    """A search that nothing interrupts: (its trials, the hyper-parameters of every training)."""
    with pytest.MonkeyPatch.context() as patch:
        seen = watched(patch)
        return searched(opener(prepared, splits, tmp_path_factory.mktemp("unbroken"))), seen.hparams


def test_the_first_trial_is_what_the_search_starts_from(unbroken):
    trials, trained = unbroken
    assert [trial.number for trial in trials] == [1, 2, 3]
    assert trained[0] == HPARAMS
    assert len(set(trained)) == 3
    assert all(0.0 <= trial.eval_accuracy <= 1.0 and trial.seconds > 0.0 for trial in trials)


def test_an_interrupted_search_goes_on_and_ends_as_if_it_had_not_been(opened, trained, unbroken):
    trained.raising[2] = Killed()
    with pytest.raises(Killed):
        searched(opened)
    trained.raising.clear()
    assert without_seconds(searched(opened)) == without_seconds(unbroken[0])
    assert len(trained.hparams) == 4  # the second trial twice, the others once


def test_a_trial_that_was_cut_short_goes_on_after_its_last_epoch(opened, monkeypatch, caplog):
    class KilledAfterOneEpoch(Checkpoints):
        def save(self, checkpoint):
            super().save(checkpoint)
            raise Killed

    changes = {
        "hparams": dataclasses.replace(HPARAMS, epochs=2),
        "settings": dataclasses.replace(SETTINGS, max_trials=1),
    }
    with monkeypatch.context() as patch:
        patch.setattr(search_module, "Checkpoints", KilledAfterOneEpoch)
        with pytest.raises(Killed):
            searched(opened, **changes)
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        (trial,) = searched(opened, **changes)
    assert "resumed after epoch 1" in caplog.text
    assert trial.epochs == 2


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [({}, 7), ({"epochs": 5}, 5), ({"algorithm": "hyperband", "epochs": 3}, 1)],
)
def test_a_trial_has_the_epochs_that_are_asked_for(settings, epochs, opened, trained):
    trained.raising |= {number: TrainingDiverged("at once") for number in (1, 2)}
    trials = searched(
        opened,
        hparams=dataclasses.replace(HPARAMS, epochs=7),
        settings=dataclasses.replace(SETTINGS, max_trials=2, **settings),
    )
    assert [hparams.epochs for hparams in trained.hparams] == [epochs] * 2
    assert [trial.epochs for trial in trials] == [epochs] * 2


@pytest.mark.parametrize(("patience", "epochs"), [(1, 8), (0, 4)])
def test_with_patience_a_trial_is_judged_by_its_best_epoch_and_else_by_its_last(
    patience, epochs, opened, trained, splits
):
    hparams = dataclasses.replace(HPARAMS, epochs=epochs, patience=patience)
    search, _ = opened(hparams=hparams, settings=dataclasses.replace(SETTINGS, max_trials=1))
    right = splits["eval_split"]
    # Each class stands for another one: the better the training, the worse the loss on eval.
    wrong = dataclasses.replace(right, labels=tf.roll(right.labels, 1, axis=1))
    search.search(train_split=splits["train_split"], eval_split=wrong)
    (trial,), ((*_, best, last),) = search.results().trials, trained.histories
    assert best.eval_loss < last.eval_loss
    assert trial.eval_loss == (best if patience else last).eval_loss
    assert not (search.folder / "checkpoints").exists()


def test_damaged_state_is_said_and_finished_trials_are_taken_over(
    opened, trained, tmp_path, caplog
):
    two = dataclasses.replace(SETTINGS, max_trials=2)
    trained.raising[2] = Killed()
    with pytest.raises(Killed):
        searched(opened, settings=two)
    trained.raising.clear()
    (state,) = (tmp_path / "tuning").glob("*/keras_tuner/oracle.json")
    state.write_text(state.read_text()[:-50])
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        trials = searched(opened, settings=two)
    assert len(trials) == 2
    assert len(trained.hparams) == 3  # the second trial twice
    assert "is damaged (JSONDecodeError): it begins again" in caplog.text


def test_a_search_beside_an_interrupted_one_says_that_it_begins(opened, tmp_path, caplog):
    with caplog.at_level("INFO", logger=progress.LOGGER.name):
        opened()
        opened()
        assert "starting anew" not in caplog.text
        opened(seed=4)
    said = f"starting anew: the searches in {tmp_path / 'tuning'} are of other data, code,"
    assert caplog.text.count(said) == 1


def test_other_data_code_libraries_or_settings_are_another_search(prepared, tmp_path, monkeypatch):
    def folder(**changes):
        given = types.SimpleNamespace(**fn_args(prepared, tmp_path, **changes))
        return tuner_fn(given).tuner.folder

    own = folder()
    assert folder(settings=dataclasses.replace(SETTINGS, max_minutes=5.0)) == own
    others = {
        folder(settings=dataclasses.replace(SETTINGS, epochs=2)),
        folder(seed=4),
        folder(replicas=2),
        folder(hparams=dataclasses.replace(HPARAMS, dropout=0.1)),
        folder(train=prepared.eval_files),
        folder(eval=prepared.train_files),
        folder(code="1"),
    }
    monkeypatch.setattr("keras_tuner.__version__", "another")
    assert len({own, *others, folder()}) == 9


def test_a_search_removes_what_it_kept_and_leaves_other_searches(opened, tmp_path):
    search, _ = opened()
    other, _ = opened(seed=4)
    search.remove()
    assert len(list((tmp_path / "tuning").iterdir())) == 1
    other.remove()
    assert not (tmp_path / "tuning").exists()


def test_a_trial_that_cannot_train_says_why_and_the_search_goes_on(opened, trained, caplog):
    caplog.set_level("INFO", logger=progress.LOGGER.name)
    trained.raising |= {1: TrainingDiverged("the loss is nan"), 2: OutOfMemory("too large")}
    trials = searched(opened)
    assert [trial.status for trial in trials] == ["failed", "failed", "completed"]
    assert trials[1].eval_accuracy is None
    assert {"trial 1: the loss is nan", "trial 2: too large"} <= set(caplog.messages)


def test_any_other_error_ends_the_search(opened, trained):
    trained.raising[1] = OSError("disk full")
    with pytest.raises(TrialBroke, match="OSError: disk full"):
        searched(opened)


def test_no_trial_but_the_first_begins_when_the_time_is_up(opened, trained):
    settings = dataclasses.replace(SETTINGS, max_minutes=1e-9)
    (first,) = searched(opened, settings=settings)
    assert first.status == "completed"
    assert len(trained.hparams) == 1
