"""Beam's arguments, and the processes that Beam starts on this machine."""

from __future__ import annotations

import shlex
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from trainer.host.children import python_child
from trainer.host.text import quoted

_PROCESSES = "multi_processing"  # a value of --direct_running_mode
_WORKER = "apache_beam.runners.worker.sdk_worker_main"
_LOCAL = frozenset({"FnApiRunner", "DirectRunner"})  # values of --runner
# The runners on which a whole pipeline was seen to give the results of one process.
_PROVEN = ("FnApiRunner", "DirectRunner", "PortableRunner")
_WRONG = {
    "daskrunner": "computes wrong results without a word: a second sink is never run, what "
    "finish_bundle yields is lost, and tagged outputs are mixed",
}


def runner_problem(given: tuple[str, ...]) -> str:
    """Says why the runner that Beam's arguments name may compute wrong results; "" if not."""
    named = PipelineOptions(list(given)).view_as(StandardOptions).runner
    name = (named or _PROVEN[0]).rpartition(".")[2]
    if name.lower() in {proven.lower() for proven in (*_PROVEN, ProcessRunner.__name__)}:
        return ""
    why = _WRONG.get(name.lower(), "was not seen to compute what one process does")
    return f"Beam's runner {quoted(name)} {why}; expected one of {', '.join(_PROVEN)}"


def beam_arguments(given: tuple[str, ...]) -> tuple[str, ...]:
    """Adds the runner unless the user names one, and `ProcessRunner` for several processes here.

    Beam's own default, Prism, downloads a Go binary. `--sdk_container_image=none` keeps TFX from
    building a package of itself for each component, which takes 0.9 s and leaves 49 MB behind
    (tfx/utils/dependency_utils.py, `make_beam_dependency_flags`).
    """
    values = {arg.rpartition("=")[2] for arg in given}
    named = any(arg.split("=")[0] == "--runner" for arg in given)
    arguments = given if named else ("--runner=FnApiRunner", "--sdk_container_image=none", *given)
    if _PROCESSES in values and (not named or values & _LOCAL):
        # Of two equal arguments Beam takes the last.
        return (*arguments, f"--runner={__name__}.{ProcessRunner.__name__}")
    return arguments


class ProcessRunner(FnApiRunner):
    """Beam's runner on this machine, with processes that import nothing from the working directory.

    Beam itself would start them by `python -m` (fn_api_runner/fn_runner.py, `run_pipeline`).
    """

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> Any:
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode != _PROCESSES:
            return super().run_pipeline(pipeline, options)
        direct.direct_running_mode = None  # or Beam takes its own command
        environment = SubprocessSDKEnvironment.from_command_string(_worker_command())
        return FnApiRunner(default_environment=environment).run_pipeline(pipeline, options)


def _worker_command() -> str:
    """A shell command that `exec`s the worker, so that ending the shell ends the worker."""
    child = python_child(_WORKER)
    path = child.environment.get("PYTHONPATH", "")  # Beam hands on all variables as they are
    return shlex.join(["exec", "env", f"PYTHONPATH={path}", *child.command])
