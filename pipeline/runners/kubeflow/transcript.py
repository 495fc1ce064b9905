"""Makes the result of a run in containers from the lines that they print and their outputs."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from components.baseline_model import baseline_in
from components.example_gen.image_set import DatasetInfo
from components.gate.check import Check
from components.gate.policy import Policy
from components.serving_dir.manifest import OVERRIDES
from pipeline.config import RunConfig
from pipeline.result import FAILED, REFUSED, ExitCode, RunResult
from pipeline.runners import outcome
from pipeline.runners.kubeflow.names import BASELINE, DATASET_INFO, PLAN, task_name
from pipeline.runners.kubeflow.task_io import Answer
from pipeline.runners.kubeflow.task_lines import COMPLETED, STARTED, TaskLine
from pipeline.runners.kubeflow.tasks import to_tfx
from pipeline.runners.observer import Observer
from trainer import progress

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_log = logging.getLogger(__name__)


class Transcript:
    """Fills in the result of a run, and tells its observer."""

    def __init__(self, run: RunResult, observer: Observer) -> None:
        self._run = run
        self._observer = observer
        self._started: dict[str, float] = {}  # by task, in seconds of a monotonic clock
        self._ended: set[str] = set()
        self._refused: tuple[Check, ...] | None = None  # by a task that left no blessing
        self._last_foreign = ""  # the last line of a library or of kfp

    def listen(self, printed: Iterable[str]) -> None:
        for text in printed:
            _log.info("%s", text.rstrip())
            if line := TaskLine.parse(text):
                self._hear(line)
            else:
                self._last_foreign = _COLOUR.sub("", text).strip() or self._last_foreign

    def _hear(self, line: TaskLine) -> None:
        run, task, now = self._run, line.task, time.monotonic()
        run.seconds[task] = now - self._started.setdefault(task, now)
        if line.text == STARTED:
            self._observer.component_started(task)
        elif line.progress is not None:
            progress.report(line.progress)
        elif line.checks is not None:
            self._refused = line.checks
        elif line.text == COMPLETED:
            self._ended.add(task)
            self._observer.component_finished(task, run.seconds[task], cached=False)
        elif line.failure is not None:
            self._ended.add(task)
            self._observer.note(f"{task}: {line.text}")
            code, reason = line.failure
            if code == ExitCode.REFUSED:
                run.outcome = REFUSED
            else:
                run.error, run.bad_data = f"{task}: {reason}", code == ExitCode.USAGE

    def read_outputs(self, home: Path, tasks: Sequence[str], config: RunConfig) -> None:
        """Reads the outputs from kfp's folder of the run in `home`, in the order of `tasks`."""
        run, training = self._run, config.training
        written = {
            task_name(path.parent.name): path for path in home.glob("*/*/executor_output.json")
        }
        for task in filter(written.__contains__, tasks):
            answer = Answer.parse(written[task].read_text())
            if task == PLAN:
                info = DatasetInfo.from_json(answer.parameters[DATASET_INFO])
                run.dataset |= {"name": info.name, "digest": info.fingerprint}
                training = config.fitted(info.image_shape).training
                run.network = config.chosen(info.image_shape)
            elif task == BASELINE:
                release = json.loads(json.loads(answer.parameters["Pusher"])["release"])
                run.policy = Policy.from_config(release["policy"])
                run.overrides = release.get(OVERRIDES)
                baseline = baseline_in(json.loads(answer.parameters["BaselineModel"]))
                run.baseline = baseline.to_json() if baseline else None
            else:
                outputs = {key: [to_tfx(one)] for key, one in answer.artifacts.items()}
                outcome.read(run, task, outputs, training)
        self._ended |= written.keys()  # a task that left its answer may lose its last line
        run.seconds = {task: run.seconds[task] for task in tasks if task in run.seconds}

    def conclude(self, exit_code: int) -> RunResult:
        """Adds what no output says: a refusal without a blessing, a silent failure, and what is in
        the serving directory all the same.
        """
        run = self._run
        if self._refused is not None:
            run.outcome, run.checks = REFUSED, self._refused
        elif run.outcome == FAILED and run.error is None:
            silent = "".join(
                f"{task} did not say how it ended, as when it is killed for memory; "
                for task in self._started
                if task not in self._ended
            )
            run.error = f"{silent}kfp ended with exit code {exit_code}: {self._last_foreign}"
        outcome.find_what_stays(run)
        return run
