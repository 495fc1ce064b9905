"""A search: keras-tuner proposes, our training loop trains, and all of it survives being killed.

Synopsis::

    job = Job.of(fn_args, root=Path("pipeline_root/tuning"), key=key)
    search = open_search(job)
    search.search(train_split=train, eval_split=evaluation)
    search.results()            # every trial
    search.remove()             # the search is over

A search has a directory of its own, which its key names. keras-tuner keeps its state there, each
finished trial leaves its result, and a trial that was cut short its checkpoints. Should the state
be damaged, keras-tuner proposes the same trials again, and the finished ones are not trained anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FailedTrialError, FatalError

from trainer import inputs, progress, training
from trainer.checkpoints import Checkpoints
from trainer.features import ImageSpec
from trainer.host.files import write_durably
from trainer.host.termination import raise_if_arrived
from trainer.host.text import one_line
from trainer.hparams import HParams
from trainer.loop import TrainingDiverged
from trainer.strategy import mirrored_strategy
from trainer.tuning import trials
from trainer.tuning.oracle import make_oracle
from trainer.tuning.settings import TuningConfig

_STATE = "keras_tuner"
_POLL_S = 0.2  # how often a worker asks the chief that has no trial for it yet


class TrialBroke(FatalError):
    """A trial ended by an error that is no property of its hyper-parameters."""


@dataclasses.dataclass(frozen=True)
class Job:
    """All that a process needs to take part in a search.

    Attributes:
      folder: of this search.
      train_files: patterns of TFRecord files.
      eval_files: patterns of TFRecord files.
      transform_output: the transform graph's directory.
      config: "spec", "hparams", "tuning" and "seed", "replicas" as `trainer.tuning.tune` has them.
    """

    folder: Path
    train_files: tuple[str, ...]
    eval_files: tuple[str, ...]
    transform_output: str
    config: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where it is written for other processes."""
        return self.folder / "job.json"

    @property
    def settings(self) -> TuningConfig:
        return TuningConfig(**self.config["tuning"])

    @property
    def hparams(self) -> HParams:
        """What the search starts from."""
        return HParams.from_config(self.config["hparams"])

    def write(self) -> None:
        """Writes it to `path`."""
        job = {**dataclasses.asdict(self), "folder": str(self.folder)}
        write_durably(self.path, json.dumps(job))

    @classmethod
    def read(cls, path: Path) -> Job:
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "folder": Path(values["folder"])})


class Search(BaseTuner):
    """keras-tuner's loop over the trials of a job, in this process.

    In keras-tuner's distributed mode (its environment variables) this process is the chief, which
    proposes, or a worker, which trains.
    """

    def __init__(self, job: Job) -> None:
        oracle = make_oracle(job.settings, job.hparams, seed=int(job.config["seed"]))
        oracle.verbose = 0  # it writes to stdout
        super().__init__(oracle, directory=str(job.folder), project_name=_STATE)
        self._job = job

    def run_trial(self, trial: Any, **splits: inputs.Split) -> dict[str, float]:
        """The result of one trial: trained now, or before this process began.

        Args:
          trial: keras-tuner's.
          splits: "train_split" and "eval_split".

        Raises:
          FailedTrialError: its hyper-parameters cannot be trained with.
          TrialBroke: something else went wrong.
        """
        hparams = self._hparams(trial)
        key = hashlib.sha256(json.dumps(hparams.to_config(), sort_keys=True).encode()).hexdigest()
        finished = self._job.folder / "finished" / f"{key[:16]}.json"
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(finished.read_text(encoding="utf-8")))
        try:
            result = self._train(hparams, key, **splits)
        except (TrainingDiverged, tf.errors.ResourceExhaustedError) as error:
            raise_if_arrived()
            raise FailedTrialError(str(error)) from error
        except Exception as error:  # keras-tuner would count it as a failed trial, and go on
            raise_if_arrived()
            raise TrialBroke(one_line(error)) from error
        write_durably(finished, json.dumps(result))
        return result

    def pre_create_trial(self) -> None:
        """keras-tuner's workers ask again at once, and would never stop asking."""
        if self._is_worker():
            time.sleep(_POLL_S)

    def _get_tuner_fname(self) -> str:
        """The file whose presence makes keras-tuner go on with a search.

        A process that searches alone and a chief of workers have the same one, so that either goes
        on with what the other began.
        """
        name = self.tuner_id if self._is_worker() else "chief"
        return str(Path(self.project_dir, f"{name}.json"))

    def results(self) -> trials.Results:
        """Every trial that has ended, in order; not in a worker, which does not know."""
        ended = [self.oracle.trials[name] for name in sorted(self.oracle.trials, key=int)]
        return trials.Results(
            self._job.settings.objective,
            tuple(self._plain(trial) for trial in ended if trial.status in ("COMPLETED", "FAILED")),
        )

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Those of the best trial; of equal ones the first, also where keras-tuner takes another.

        Raises:
          trials.NoneCompleted: no trial was.
        """
        best = trials.ranked(self.results().trials, self._job.settings.objective)[:num_trials]
        numbers = {int(name) + 1: trial for name, trial in self.oracle.trials.items()}
        return [numbers[trial.number].hyperparameters for trial in best]

    @property
    def job(self) -> Job:
        """What it works on."""
        return self._job

    def remove(self) -> None:
        """Removes the search's directory, and the one above if no other search is left there."""
        shutil.rmtree(self._job.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._job.folder.parent.rmdir()

    def _hparams(self, trial: Any) -> HParams:
        """Of a trial. Each one trains from the start: its schedule spans all its epochs."""
        values, base = trial.hyperparameters.values, self._job.hparams
        epochs = values.get("tuner/epochs") or self._job.settings.epochs or base.epochs
        return dataclasses.replace(trials.tuned(base, values), epochs=int(epochs))

    def _train(
        self, hparams: HParams, key: str, *, train_split: inputs.Split, eval_split: inputs.Split
    ) -> dict[str, float]:
        start = time.monotonic()
        keras.utils.clear_session()  # graphs of earlier trials
        config = self._job.config
        checkpoints = Checkpoints(self._job.folder / "checkpoints", key)
        _, history = training.fit(
            hparams,
            spec=ImageSpec.from_config(config["spec"]),
            train_split=train_split,
            eval_split=eval_split,
            strategy=mirrored_strategy(int(config["replicas"])),
            seed=int(config["seed"]),
            checkpoints=checkpoints,
        )
        checkpoints.remove()
        last = min(history, key=lambda epoch: epoch.eval_loss) if hparams.patience else history[-1]
        return {
            "eval_accuracy": last.eval_accuracy,
            "eval_loss": last.eval_loss,
            "seconds": time.monotonic() - start,
        }

    def _plain(self, trial: Any) -> trials.Trial:
        completed = trial.status == "COMPLETED"
        names = ("eval_accuracy", "eval_loss", "seconds")
        return trials.Trial(
            number=int(trial.trial_id) + 1,
            status=trials.COMPLETED if completed else trials.FAILED,
            values=trials.searched(trial.hyperparameters.values),
            epochs=self._hparams(trial).epochs,
            **{name: trial.metrics.get_last_value(name) for name in names if completed},
        )


def open_search(job: Job) -> Search:
    """The search of a job, as far as an earlier process has come with it."""
    try:
        return Search(job)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        progress.LOGGER.warning(
            "keras-tuner's state in %s is damaged (%s): it begins again, and takes over the trials "
            "that are finished",
            job.folder,
            type(error).__name__,
        )
        shutil.rmtree(job.folder / _STATE)
        return Search(job)
