"""Runs the compiled pipeline on this machine without a cluster, each task in a container.

kfp's local runner has a process of its own (`kfp_local`), whose output `transcript` reads.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.example_gen.data_error import DataError
from components.example_gen.sources import DatasetSpec, find_name, parse_dataset
from components.signing import require_keys
from pipeline.config import RunConfig
from pipeline.result import ExitCode, RunResult
from pipeline.runners.failures import CannotStart, starting
from pipeline.runners.kubeflow import kfp_local, names, parameters
from pipeline.runners.kubeflow.deployment import Deployment, Mount
from pipeline.runners.locking import locked
from pipeline.runners.observer import Observer
from trainer.host import termination
from trainer.host.paths import slug
from trainer.host.text import one_line

if TYPE_CHECKING:
    from pipeline.runners.kubeflow.compiling import Compiled
    from pipeline.runners.kubeflow.transcript import Transcript

# TFX is imported after the check of the engine, which takes a second.

# Of the ten seconds that a run has after SIGTERM: for kfp, and for the engine when kfp did not end.
GRACE_S = 4.0
ENGINE_S = 3.0

CHECK_S = 120.0  # to import kfp, and to ask the engine, which docker does for 60 s at most

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalOptions:
    """How the containers run.

    Attributes:
      kfp_python: a Python that has kfp 2.16 or 2.17, and docker.
      user: "UID:GID" of the containers.
    """

    image: str
    kfp_python: str
    user: str


def run(
    configured: RunConfig,
    overrides: Mapping[str, Any],
    options: LocalOptions,
    *,
    run_id: str,
    observer: Observer,
) -> RunResult:
    """Runs the pipeline to a decision.

    Args:
      configured: its directories are those of this machine.
      overrides: the values in which `configured` differs from its preset.

    Raises:
      CannotStart: no engine, image or kfp; refused data or keys; or another run holds the pipeline
        root.
    """
    dataset, data, served = _found(configured)
    names.require_kfp()
    home = Path(configured.pipeline_root).absolute() / "kubeflow" / run_id  # kfp's, for outputs
    with locked(Path(configured.pipeline_root)):
        image = _find_image(options)
        from pipeline.runners import outcome
        from pipeline.runners.kubeflow.transcript import Transcript

        keys = {
            f"serving.{name}": os.path.abspath(path)
            for name, path in configured.serving.keys.items()
            if path
        }
        placed = {**overrides, **keys, "dataset": dataset.text}
        compiled = _compiled(configured.preset, placed, image, home=home, served=served, data=data)
        for directory in (home, served):
            directory.mkdir(parents=True, exist_ok=True)
        (home / "pipeline.yaml").write_text(compiled.text)
        readable = [one for one in (data, *dataset.folders, *keys.values()) if one]
        order = _order(home, options, run_id, written=served, readable=readable)
        observer.planned(compiled.tasks)
        result = RunResult(run_id, serving_dir=str(served))
        transcript = Transcript(result, observer)
        try:
            exit_code = _follow(options, order, transcript, observer)
            transcript.read_outputs(home, compiled.tasks, configured)
            return transcript.conclude(exit_code)
        except (termination.Terminated, KeyboardInterrupt):
            if not termination.arrived():
                raise
            # `termination.terminable` raises again. The result says what was released by then.
        except (KeyError, OSError, ValueError) as error:
            _log.error("cannot read what the tasks of %s left", run_id, exc_info=error)
            result.error = f"cannot read what the tasks left in {home}: {one_line(error)}"
        outcome.find_what_stays(result)
        return result


@starting()
def _found(configured: RunConfig) -> tuple[DatasetSpec, Path | None, Path]:
    """Returns the data set, the directory of prepared data, and the serving directory."""
    parameters.require_no_store(configured)
    require_keys(**configured.serving.keys)
    dataset = parse_dataset(configured.dataset)
    data = _prepared_data(configured)
    name = slug(find_name(dataset, configured.data, data_dir=configured.data_dir))
    return dataset, data, configured.served_from(name)


@starting()
def _compiled(
    preset: str,
    overrides: Mapping[str, Any],
    image: str,
    *,
    home: Path,
    served: Path,
    data: Path | None,
) -> Compiled:
    """Compiles for containers that see directories of this machine at the same paths."""
    from pipeline.runners.kubeflow.compiling import compile_pipeline

    deployment = Deployment(
        image,
        str(home),
        serving=Mount(str(served)),
        data=Mount(str(data)) if data else None,
        retries=0,  # kfp 2.17 makes them, after a refusal as well
    )
    return compile_pipeline(preset, overrides, deployment)


def _prepared_data(configured: RunConfig) -> Path | None:
    if not configured.data_dir:
        return None
    data = Path(configured.data_dir).absolute()
    if not data.is_dir():
        raise DataError(
            f"there is no directory {data}, expected the prepared data set in it, since the "
            "containers have no network: name another --data-dir"
        )
    return data


def _find_image(options: LocalOptions) -> str:
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
            ExitCode.FAILED,
        ) from error
    except OSError as error:
        raise CannotStart(
            f"cannot start {options.kfp_python}: {error.strerror}; give another --kfp-python",
            ExitCode.USAGE,
        ) from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        line = lines[-1] if lines else f"{options.kfp_python} failed"
        raise CannotStart(line, ExitCode.USAGE if done.returncode == 2 else ExitCode.FAILED)
    return done.stdout.splitlines()[-1]


def _order(
    home: Path,
    options: LocalOptions,
    run_id: str,
    *,
    written: Path,
    readable: Sequence[str | Path],
) -> dict[str, Any]:
    """What `kfp_local` is asked to run: the pipeline in `home`, with directories mounted."""
    return {
        "pipeline": str(home / "pipeline.yaml"),
        "pipeline_root": str(home),
        "run_id": run_id,
        "user": options.user,
        "environment": {names.RUN_ID_VARIABLE: run_id},
        "mounts": [
            {"path": str(written), "read_only": False},
            *({"path": str(one), "read_only": True} for one in readable),
        ],
    }


def _follow(
    options: LocalOptions, order: Mapping[str, Any], transcript: Transcript, observer: Observer
) -> int:
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
            transcript.listen(process.stdout)
        except BaseException:
            _stop(process, options.kfp_python, order["run_id"], observer)
            raise
    return process.returncode


def _stop(process: subprocess.Popen[str], python: str, run_id: str, observer: Observer) -> None:
    """Ends kfp, which ends its containers, or kills both."""
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
