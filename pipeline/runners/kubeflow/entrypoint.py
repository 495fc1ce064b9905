r"""The program in each container, between the backend's launcher and TFX's executors.

    python -m pipeline.runners.kubeflow.entrypoint component --name Trainer --executor PATH \
        --types JSON --beam-arg=--runner=FnApiRunner --executor-input '{{$}}'
    python -m pipeline.runners.kubeflow.entrypoint plan --executor-input '{{$}}'

It replaces TFX's own (tfx/orchestration/kubeflow/v2/container/kubeflow_v2_run_executor.py), which
does not fit this backend (`task_io`). Exit codes are those of `run`, stdout is for `task_lines`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import logging as absl_logging

from components.gate.check import GateRefused
from pipeline.config import RunConfig
from pipeline.result import GATES, ExitCode
from pipeline.runners.kubeflow import parameters
from pipeline.runners.kubeflow.names import (
    BASELINE,
    DATASET_INFO,
    MODEL_DIGEST,
    PLAN,
    RUN_ID_VARIABLE,
    SETTINGS,
    refusal_of,
)
from pipeline.runners.kubeflow.task_io import (
    TERMINATION_LOG,
    ExecutorInput,
    TaskInputError,
    leave_message,
)
from pipeline.runners.kubeflow.task_lines import COMPLETED, FAILURES, STARTED, TaskLog, reason
from trainer.environment import collect_seldom
from trainer.host.errors import Refusal
from trainer.host.termination import Terminated, terminable
from trainer.host.text import first_line, printable

# An engine removes a container that has ended, and may not have handed on its last lines by then.
LAST_WORDS_S = 1.0

_AFTER_A_SIGNAL = (
    "arrived before the task was done; nothing is half published, and another attempt does the "
    "task again"
)

# TFX is imported where a task needs it, so that one behind a refusal ends at once.


class RefusedBefore(Exception):
    """A gate before this task refused; the message says which one, and why."""


def main(argv: Sequence[str] | None = None, *, termination_log: Path = TERMINATION_LOG) -> int:
    """Runs one task and returns the exit code."""
    collect_seldom()
    options = _parser().parse_args(argv)
    # TFX hands `sys.argv` to every Beam pipeline.
    sys.argv = sys.argv[:1]
    _log_to_stderr()
    log = TaskLog(options.name, sys.stdout)
    try:
        with terminable(), log.training():
            log.say(STARTED)
            _run(options, ExecutorInput.parse(options.executor_input))
    except (Exception, Terminated, KeyboardInterrupt) as error:
        code, text = _end_of(error)
        line = printable(text)  # one line of UTF-8, whatever names are in it
        if code in (ExitCode.FAILED, ExitCode.USAGE):
            traceback.print_exception(error)
        if isinstance(error, GateRefused):
            log.say_checks(error.checks)
        leave_message(line, termination_log)
        log.say(line)
        return code
    log.say(COMPLETED)
    return ExitCode.DONE


def _end_of(error: BaseException) -> tuple[ExitCode, str]:
    """Returns the exit code and the task's last line."""
    if isinstance(error, Terminated):
        code, text = ExitCode.TERMINATED, f": SIGTERM {_AFTER_A_SIGNAL}"
    elif isinstance(error, KeyboardInterrupt):
        code, text = ExitCode.INTERRUPTED, f": SIGINT {_AFTER_A_SIGNAL}"
    elif isinstance(error, RefusedBefore):
        code, text = ExitCode.REFUSED, f" by {error}"
    elif isinstance(error, GateRefused):
        code, text = ExitCode.REFUSED, f": {reason(error.checks)}"
    elif isinstance(error, Refusal):
        code, text = ExitCode.USAGE, f": {first_line(error)}"
    else:
        code, text = ExitCode.FAILED, f": {first_line(error)}"
    return code, FAILURES[code] + text


def _log_to_stderr() -> None:
    """Sends libraries' logs to stderr, but not training's several a second (see `TaskLog`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: not hasattr(record, "progress"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    absl_logging.set_verbosity(absl_logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Runs one task of the compiled pipeline.")
    tasks = parser.add_subparsers(dest="task", required=True)
    component = tasks.add_parser("component")
    component.add_argument("--name", required=True, help="of the node")
    component.add_argument("--executor", required=True, help="import path of its class")
    component.add_argument("--types", required=True, type=json.loads, help="of its artifacts")
    component.add_argument("--beam-arg", dest="beam_args", action="append", default=[])
    tasks.add_parser("plan").set_defaults(name=PLAN)
    tasks.add_parser("baseline").set_defaults(name=BASELINE)
    for task in tasks.choices.values():
        task.add_argument("--executor-input", required=True, help="the backend's {{$}}")
    return parser


def _run(options: argparse.Namespace, given: ExecutorInput) -> None:
    for gate in GATES:
        if refusal := given.parameters.get(refusal_of(gate)):
            raise RefusedBefore(f"{gate}: {refusal}")
    from pipeline.runners.kubeflow import tasks

    if options.task == "plan":
        given.write_answer(parameters=tasks.plan_run(_config(given), _run_id()))
    elif options.task == "baseline":
        chosen = tasks.choose_baseline(
            _config(given),
            _run_id(),
            dataset_info=given.parameters[DATASET_INFO],
            model_digest=given.parameters[MODEL_DIGEST],
        )
        given.write_answer(parameters=chosen)
    else:
        tasks.run_component(
            given,
            _run_id(),
            executor=options.executor,
            types=options.types,
            gate=GATES.get(options.name),
            beam_args=options.beam_args,
        )


def _config(given: ExecutorInput) -> RunConfig:
    return parameters.read_back(given.parameters, json.loads(given.parameters[SETTINGS]))


def _run_id() -> str:
    if RUN_ID_VARIABLE not in os.environ:
        raise TaskInputError(
            f"{RUN_ID_VARIABLE} is not in the environment, expected the run's id: the pipeline's "
            "second document, for Kubernetes, sets it; submit both"
        )
    return os.environ[RUN_ID_VARIABLE]


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    time.sleep(LAST_WORDS_S)
    sys.exit(status)
