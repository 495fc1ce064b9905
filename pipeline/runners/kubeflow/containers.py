"""Runs the compiled pipeline on this machine, every task in a container: no cluster is needed.

Synopsis::

    result = run("quick", {}, options, run_id="20261124T103000Z-3f2a", observer=observer)

kfp's local runner does it, in a process of its own (`kfp_local`). What the containers say on the
way (`report`) reaches the observer, and what they leave is read as the local run's is (`outcome`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.example_gen.sources import (
    DataError,
    DatasetSpec,
    find_name,
    parse_dataset,
    slug,
)
from components.gate.check import Check
from components.gate.policy import Policy
from pipeline import result
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build
from pipeline.runners.failures import CannotStart
from pipeline.runners.kubeflow import kfp_local, names
from pipeline.runners.kubeflow.installed import require_kfp
from pipeline.runners.kubeflow.report import COMPLETED, INVALID, REFUSED, STARTED, Line
from pipeline.runners.kubeflow.wire import Answer
from pipeline.runners.locking import locked
from pipeline.runners.observer import Observer
from trainer import progress
from trainer.hparams import HParams

if TYPE_CHECKING:
    from pipeline.runners.kubeflow.compiling import CompileOptions

# TFX is imported after the check of the engine, which takes a second.

# Of the ten seconds that a run has after SIGTERM: for kfp, and for the engine when kfp did not end.
GRACE_S = 4.0
ENGINE_S = 3.0

CHECK_S = 120.0  # to import kfp, and to ask the engine, which docker does for 60 s at most

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalOptions:
    """How the containers run.

    Attributes:
      image: of every task.
      kfp_python: a Python that has kfp 2.16 and docker.
      user: "UID:GID" of the containers; "" for the image's own.
      environment: variables of the containers.
    """

    image: str
    kfp_python: str
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def run(
    preset: str,
    overrides: Mapping[str, Any],
    options: LocalOptions,
    *,
    run_id: str,
    observer: Observer,
) -> result.RunResult:
    """Runs the pipeline to a decision.

    Args:
      preset: as `pipeline.config_model.build` takes it, like `overrides`.
      overrides: the configuration; its directories are those of this machine.

    Raises:
      CannotStart: no engine, no image, no kfp, a configuration or data that are refused, or another
        run on this pipeline root.
    """
    try:
        configured = build(preset, overrides)
        spec = parse_dataset(configured.dataset)
        places = _Places.of(configured, spec, run_id)
        places.require_data()
    except (ConfigError, DataError) as error:
        raise CannotStart(str(error), 2) from error
    require_kfp()
    with locked(Path(configured.pipeline_root)):
        image = _find_image(options)
        from pipeline.runners.kubeflow.compiling import compile_pipeline

        compiled = compile_pipeline(
            preset, {**overrides, "dataset": spec.text}, places.compile_options(image)
        )
        order = places.order(options, run_id, compiled.text)
        observer.planned(compiled.tasks)
        state = result.RunResult(run_id)
        heard, exit_code = _follow(options, order, state, observer)
    written = _read_outputs(places.home, compiled.tasks, state, configured.training)
    _complete_unheard(heard, written, state)
    state.seconds = {task: state.seconds[task] for task in compiled.tasks if task in state.seconds}
    _conclude(heard, exit_code, state)
    return state


def _find_image(options: LocalOptions) -> str:
    """The image's own name in the engine, which is there, as kfp is."""
    try:
        done = subprocess.run(
            [options.kfp_python, "-I", kfp_local.__file__, "check", options.image],
            capture_output=True,
            text=True,
            timeout=CHECK_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotStart(
            f"the container engine has not said within {CHECK_S:g} s whether it has the image "
            f"{options.image}: see whether `docker info` answers",
            1,
        ) from error
    except OSError as error:
        raise CannotStart(
            f"cannot start {options.kfp_python}: {error.strerror}; give another --kfp-python", 2
        ) from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        line = lines[-1] if lines else f"{options.kfp_python} failed"
        raise CannotStart(line, 2 if done.returncode == 2 else 1)
    return done.stdout.splitlines()[-1]


@dataclass(frozen=True)
class _Places:
    """Directories that the containers see, at their own paths.

    Attributes:
      home: where kfp puts what the tasks write.
      served: the serving directory.
      data: tensorflow-datasets' directory; None for none.
      folders: that the data set is read from.
    """

    home: Path
    served: Path
    data: Path | None
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, configured: RunConfig, spec: DatasetSpec, run_id: str) -> _Places:
        """As the configuration says.

        Raises:
          DataError: the IDX files are refused.
        """
        root = Path(configured.pipeline_root).absolute()
        name = find_name(spec, data_dir=configured.data_dir)
        return cls(
            home=root / "kubeflow" / run_id,
            served=configured.served_from(slug(name)),
            data=Path(configured.data_dir).absolute() if configured.data_dir else None,
            folders=spec.folders,
        )

    def require_data(self) -> None:
        """Refuses at once what the engine cannot mount; IDX files have been read by then.

        Raises:
          DataError: the data are not there.
        """
        if self.data is not None and not self.data.is_dir():
            raise DataError(
                f"there is no directory {self.data}, expected the prepared data set in it, since "
                "the containers have no network: name another --data-dir"
            )

    def compile_options(self, image: str) -> CompileOptions:
        from pipeline.runners.kubeflow.cluster import Mount
        from pipeline.runners.kubeflow.compiling import CompileOptions
        from pipeline.runners.kubeflow.spec import Deployment

        return CompileOptions(
            deployment=Deployment(image, str(self.home)),
            serving=Mount(str(self.served)),
            data=Mount(str(self.data)) if self.data else None,
        )

    def order(self, options: LocalOptions, run_id: str, pipeline: str) -> dict[str, Any]:
        """What `kfp_local` is told; the directories are made, and the pipeline is written."""
        try:
            for directory in (self.home, self.served):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(
                f"cannot make {directory}: {error.strerror}; choose another --pipeline-root or "
                "--serving-dir",
                2,
            ) from error
        (self.home / "pipeline.yaml").write_text(pipeline)
        return {
            "pipeline": str(self.home / "pipeline.yaml"),
            "pipeline_root": str(self.home),
            "run_id": run_id,
            "user": options.user or None,
            "environment": {**options.environment, names.RUN_ID_VARIABLE: run_id},
            "mounts": [
                {"path": str(self.served), "read_only": False},
                *(
                    {"path": str(path), "read_only": True}
                    for path in (self.data, *self.folders)
                    if path
                ),
            ],
        }


def _follow(
    options: LocalOptions, order: Mapping[str, Any], state: result.RunResult, observer: Observer
) -> tuple[_Heard, int]:
    """Runs kfp; (what its containers said, its exit code)."""
    command = [options.kfp_python, "-I", kfp_local.__file__, "run", json.dumps(order)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches it from here, once
    ) as process:
        assert process.stdout is not None
        try:
            heard = _listen(process.stdout, state, observer)
        except BaseException:
            _stop(process, options.kfp_python, order["run_id"], observer)
            raise
    return heard, process.returncode


def _stop(process: subprocess.Popen[str], python: str, run_id: str, observer: Observer) -> None:
    """Ends kfp, which ends its containers; both by force where it does not."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    finally:  # after a second Ctrl-C as well
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # first, so that it starts no other container
            _stop_containers(python, run_id, observer)


def _stop_containers(python: str, run_id: str, observer: Observer) -> None:
    try:
        subprocess.run(
            [python, "-I", kfp_local.__file__, "stop", run_id],
            capture_output=True,
            start_new_session=True,
            timeout=ENGINE_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        _log.error("cannot end the containers of %s", run_id, exc_info=error)
        observer.note(
            f"the engine did not end the containers labelled {kfp_local.LABEL}={run_id}: "
            "end them by hand, or they may still release"
        )


@dataclass
class _Heard:
    """What the containers said, but for the state of the run.

    Attributes:
      started: when each task began, in seconds of a clock that never goes back.
      refused: the checks of a task that refused by an error, and so left no blessing.
      last: the last line that is none of ours.
      ended: when nothing more was to be heard, by that clock.
    """

    started: dict[str, float] = field(default_factory=dict)
    refused: tuple[Check, ...] | None = None
    last: str = ""
    ended: float = 0.0


def _listen(printed: Iterable[str], state: result.RunResult, observer: Observer) -> _Heard:
    """Takes in what the containers say."""
    heard = _Heard()
    for text in printed:
        _log.info("%s", text.rstrip())
        line = Line.parse(text)
        if line is None:
            heard.last = _COLOUR.sub("", text).strip() or heard.last
        elif line.text == STARTED:
            heard.started[line.task] = time.monotonic()
            observer.component_started(line.task)
        elif line.progress is not None:
            progress.report(line.progress)
        elif line.checks is not None:
            heard.refused = line.checks
        elif line.text == COMPLETED or line.failure is not None:
            now = time.monotonic()
            seconds = now - heard.started.get(line.task, now)
            state.seconds[line.task] = seconds
            if line.failure is None:
                observer.component_finished(line.task, seconds, cached=False)
            else:
                observer.note(f"{line.task}: {line.text}")
                _fail(line.task, *line.failure, state)
    heard.ended = time.monotonic()
    return heard


def _fail(task: str, code: int, reason: str, state: result.RunResult) -> None:
    if code == REFUSED:
        state.outcome = result.REFUSED
    else:
        state.error = f"{task}: {reason}"
        state.bad_data = code == INVALID


def _complete_unheard(heard: _Heard, written: Collection[str], state: result.RunResult) -> None:
    """A task that left its answer has completed, also where its last line was lost.

    kfp runs one at a time: it had ended when the next one began.
    """
    ends = [*heard.started.values(), heard.ended][1:]
    for (task, began), end in zip(heard.started.items(), ends, strict=True):
        if task in written and task not in state.seconds:
            state.seconds[task] = end - began


def _read_outputs(
    home: Path, tasks: Sequence[str], state: result.RunResult, training: HParams
) -> Collection[str]:
    """What the tasks wrote, in the order of the run: kfp names a folder after each.

    Returns:
      The tasks that did.
    """
    from components.baseline_model import baseline_in
    from pipeline.runners import outcome
    from pipeline.runners.kubeflow.artifacts import to_message

    written = {path.parent.name: path for path in home.glob("*/*/executor_output.json")}
    for task in filter(written.__contains__, tasks):
        answer = Answer.parse(written[task].read_text())
        if task == names.PLAN:
            info = json.loads(answer.parameters[names.DATASET_INFO])
            state.dataset |= {"name": info["name"], "digest": info["fingerprint"]}
        elif task == names.BASELINE:
            release = json.loads(json.loads(answer.parameters["Pusher"])["release"])
            state.policy = Policy.from_config(release["policy"])
            baseline = baseline_in(json.loads(answer.parameters["BaselineModel"]))
            state.baseline = baseline.to_json() if baseline else None
        else:
            outputs = {key: [to_message(one)] for key, one in answer.artifacts.items()}
            outcome.read(state, task, outputs, training)
    return written


def _conclude(heard: _Heard, exit_code: int, state: result.RunResult) -> None:
    """What no output says."""
    if heard.refused is not None:
        state.outcome, state.checks = result.REFUSED, tuple(heard.refused)
    elif state.outcome == result.FAILED and state.error is None:
        silent = "".join(
            f"{task} did not say how it ended, as when it is killed for memory; "
            for task in heard.started
            if task not in state.seconds
        )
        state.error = f"{silent}kfp ended with exit code {exit_code}: {heard.last}"
