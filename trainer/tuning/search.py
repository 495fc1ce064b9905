"""A search: keras-tuner proposes, our training loop trains, and a killed search can be continued.

The folder of a search holds keras-tuner's state, the result of each finished trial, and the
checkpoints of an interrupted one. If the state is damaged, keras-tuner proposes the same trials
again, and the finished ones are not trained anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FailedTrialError, FatalError

from trainer import loop, progress
from trainer.checkpoints import Checkpoints
from trainer.device_memory import OutOfMemory
from trainer.host.files import write_durably
from trainer.host.termination import raise_if_arrived
from trainer.host.text import one_line
from trainer.hparams import HParams
from trainer.inputs import LoadedSplit
from trainer.job import Job
from trainer.tuning.oracle import make_oracle
from trainer.tuning.results import COMPLETED, FAILED, Results, Trial, searched, tuned
from trainer.tuning.settings import TuningConfig

_STATE = "keras_tuner"
_POLL_S = 0.2  # how often a worker asks the chief that has no trial for it yet


class TrialBroke(FatalError):
    """A trial ended by an error that its hyper-parameters did not cause."""


class Search(BaseTuner):
    """keras-tuner's loop over the trials of a job.

    By keras-tuner's environment variables this process is the chief, which proposes trials and
    needs no strategy, or a worker, which trains them. Without these variables it does both, as in
    keras-tuner's own examples.
    """

    def __init__(
        self, job: Job, folder: Path, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        self.folder = folder
        self._job = job
        self._settings = TuningConfig(**job.custom_config["tuning"])
        # One for all trials: TensorFlow mixes up what the replicas of several ones exchange.
        self._strategy = strategy
        side = min(job.spec.image_shape[:2])
        oracle = make_oracle(self._settings, job.hparams, side=side, seed=job.seed)
        oracle.verbose = 0  # it writes to stdout
        super().__init__(oracle, directory=str(folder), project_name=_STATE)

    @property
    def job_file(self) -> Path:
        return self.folder / "job.json"

    def run_trial(self, trial: Any, **splits: LoadedSplit) -> dict[str, float]:
        """Trains a trial, or reads its result if an earlier process trained it.

        Raises `FailedTrialError` if the training diverged or memory ran out, else `TrialBroke`.
        """
        hparams = self._hparams(trial)
        key = hashlib.sha256(json.dumps(hparams.to_config(), sort_keys=True).encode()).hexdigest()
        finished = self.folder / "finished" / f"{key[:16]}.json"
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(finished.read_text(encoding="utf-8")))
        try:
            result = self._train(hparams, key, **splits)
            write_durably(finished, json.dumps(result))
        except (loop.TrainingDiverged, OutOfMemory) as error:
            raise_if_arrived()
            # By the process that trains: keras-tuner's chief is not told the reason.
            progress.LOGGER.info("trial %d: %s", int(trial.trial_id) + 1, error)
            raise FailedTrialError(str(error)) from error
        except Exception as error:  # keras-tuner would count it as a failed trial, and go on
            raise_if_arrived()
            raise TrialBroke(one_line(error)) from error
        return result

    def pre_create_trial(self) -> None:
        """Slows a worker down: keras-tuner asks a chief without a trial again at once."""
        if self._is_worker():
            time.sleep(_POLL_S)

    def _get_tuner_fname(self) -> str:
        """Names one file for a process that searches alone and a chief of workers, so that each
        resumes what the other began.
        """
        name = self.tuner_id if self._is_worker() else "chief"
        return str(Path(self.project_dir, f"{name}.json"))

    def results(self) -> Results:
        """Every trial that has ended, in order; a worker does not know them."""
        trials = (self.oracle.trials[name] for name in sorted(self.oracle.trials, key=int))
        return Results(
            self._settings.objective,
            tuple(self._plain(each) for each in trials if each.status in ("COMPLETED", "FAILED")),
        )

    def remove(self) -> None:
        """Removes the folder of the search, and the one above if it is empty then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    def _hparams(self, trial: Any) -> HParams:
        """Each trial trains from the start, so its schedule spans all its epochs."""
        values, base = trial.hyperparameters.values, self._job.hparams
        epochs = values.get("tuner/epochs") or self._settings.epochs or base.epochs
        return dataclasses.replace(tuned(base, values), epochs=int(epochs))

    def _train(self, hparams: HParams, key: str, **splits: LoadedSplit) -> dict[str, float]:
        start = time.monotonic()
        keras.utils.clear_session()  # graphs of earlier trials
        checkpoints = Checkpoints(self.folder / "checkpoints", key)
        assert self._strategy is not None, "the chief proposes trials, and trains none"
        _, history = loop.train(
            hparams,
            spec=self._job.spec,
            strategy=self._strategy,
            seed=self._job.seed,
            log_dir=None,
            checkpoints=checkpoints,
            **splits,
        )
        checkpoints.remove()
        last = min(history, key=lambda epoch: epoch.eval_loss) if hparams.patience else history[-1]
        return {
            "eval_accuracy": last.eval_accuracy,
            "eval_loss": last.eval_loss,
            "seconds": time.monotonic() - start,
        }

    def _plain(self, trial: Any) -> Trial:
        completed = trial.status == "COMPLETED"
        names = ("eval_accuracy", "eval_loss", "seconds")
        return Trial(
            number=int(trial.trial_id) + 1,
            status=COMPLETED if completed else FAILED,
            values=searched(trial.hyperparameters.values),
            epochs=self._hparams(trial).epochs,
            **{name: trial.metrics.get_last_value(name) for name in names if completed},
        )


def open_search(job: Job, folder: Path, strategy: tf.distribute.Strategy | None = None) -> Search:
    """Opens the search of a job, and resumes what an earlier process left in that folder."""
    if not folder.exists() and any(folder.parent.glob("*")):
        progress.LOGGER.info(
            "starting anew: the searches in %s are of other data, code, libraries or "
            "configuration; remove those that you will not go on with",
            folder.parent,
        )
    try:
        return Search(job, folder, strategy)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        progress.LOGGER.warning(
            "keras-tuner's state in %s is damaged (%s): it begins again, and takes over the trials "
            "that are finished",
            folder,
            type(error).__name__,
        )
        shutil.rmtree(folder / _STATE)
        return Search(job, folder, strategy)
