"""Executes a plan component by component, and reads what came out.

Synopsis::

    result = execute(plan, run_id="20261123T103000Z-3f2a", observer=observer)

TFX's own LocalDagRunner does the same loop, but tells neither which component runs nor what was
taken from the cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components import serving_dir
from components.example_gen.errors import DataError
from components.gate import decide
from components.gate.check import Refused
from pipeline import history, result
from pipeline.graph import create_pipeline
from pipeline.plan import Plan, make_fresh, metadata_path
from pipeline.runners import artifacts
from pipeline.runners.errors import no_space, one_line
from pipeline.runners.observer import Observer
from pipeline.runners.outcome import Outputs, State
from trainer.host import termination

_log = logging.getLogger(__name__)


class _ModelMadeAnew(Exception):
    """The run was to take over an earlier release's model, but a new one was trained."""


class _ResultDamaged(Exception):
    """A result that was to be taken over from an earlier run is not what was written."""

    def __init__(self, name: str, paths: Sequence[str]) -> None:
        super().__init__(
            f"the result of {name} in {', '.join(paths)} was altered, or never recorded: making it "
            "again"
        )


class _ComponentFailed(Exception):
    """A component raised; the cause is `__cause__`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def execute(plan: Plan, *, run_id: str, observer: Observer) -> result.RunResult:
    """Runs every component, up to the first that fails or refuses.

    A served model that cannot be read is refused at once: what would come out is known already.
    """
    state = State(
        dataset={"name": plan.dataset.name, "digest": plan.dataset.fingerprint},
        training=plan.config.training,
    )
    try:
        try:
            _require_readable(plan)
            _run_to_the_end(plan, run_id, observer, state)
        except _ModelMadeAnew:
            # The recorded baseline was another model's. What was computed is in the cache by now.
            observer.note("The released model could not be taken over: comparing a new one with it")
            plan = make_fresh(plan, run_id=run_id)
            _run_to_the_end(plan, f"{run_id}-compared", observer, state)
    except (termination.Terminated, KeyboardInterrupt):
        if not termination.arrived():
            raise
        # `termination.terminable` raises again. What is true by now is told as well.
        if release := _release_by(run_id, Path(plan.serving_dir)):
            state.outcome, state.release = result.RELEASED, release
    except Refused as refused:
        state.refuse(refused.checks)
    except _ComponentFailed as failed:
        cause = failed.__cause__
        if isinstance(cause, Refused):
            state.refuse(cause.checks)
        else:
            _log.error("%s failed", failed.name, exc_info=cause)
            line = no_space(cause, plan.config.pipeline_root) or one_line(cause)
            state.outcome, state.error = result.FAILED, f"{failed.name}: {line}"
            state.bad_data = isinstance(cause, DataError)
    baseline = plan.context.baseline
    state.policy, state.baseline = plan.policy, None if baseline is None else baseline.to_json()
    return state.result(run_id)


def _release_by(run_id: str, served: Path) -> result.Release | None:
    """The version that the run has published, which may have ended before it could say so."""
    with contextlib.suppress(serving_dir.ServingDirError):
        for version in reversed(serving_dir.versions(served)):
            release = version.manifest.release if version.manifest else {}
            if f"{release.get('run_id')}-".startswith(f"{run_id}-"):
                return result.Release(version.number, str(version.path))
    return None


def _require_readable(plan: Plan) -> None:
    if plan.context.damage is not None:
        check = decide.damage_check(plan.context.damage, plan.policy)
        if not check.passed:
            raise Refused([check])


def _run_to_the_end(plan: Plan, run_id: str, observer: Observer, state: State) -> None:
    """Runs the components, and from the first one again when a damaged result turns up."""
    while True:
        try:
            _run_components(plan, run_id, observer, state)
            return
        except _ResultDamaged as damaged:
            observer.note(str(damaged))
            run_id += "-again"  # to ML Metadata the old name's run has the damaged result


def _run_components(plan: Plan, run_id: str, observer: Observer, state: State) -> None:
    connection = metadata.sqlite_metadata_connection_config(str(metadata_path(plan.config)))
    pipeline = create_pipeline(plan)
    pipeline.metadata_connection_config = connection
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    nodes = [node.pipeline_node for node in ir.nodes]
    observer.planned([node.node_info.id for node in nodes])
    with _without_arguments():
        for node in nodes:
            termination.raise_if_arrived()
            name = node.node_info.id
            observer.component_started(name)
            start = time.monotonic()
            try:
                outputs, cached = _launch(ir, node, connection)
                state.read(name, outputs)
            except _ResultDamaged:
                raise
            except Exception as error:
                termination.raise_if_arrived()
                state.executed.add(name)
                raise _ComponentFailed(name) from error
            finally:
                _give_memory_back()
                seconds = time.monotonic() - start
                state.seconds[name] = state.seconds.get(name, 0.0) + seconds
            if not cached:
                state.executed.add(name)
            observer.component_finished(name, seconds, cached=cached)
            if name == "Trainer" and plan.context.recorded and not cached:
                raise _ModelMadeAnew
            if state.outcome == result.REFUSED:
                return
    if "Pusher" in state.cached and state.outcome == result.RELEASED:
        # An earlier run did the publishing, whatever else was executed in this one.
        state.outcome = result.UNCHANGED


def _launch(
    ir: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    connection: metadata_store_pb2.ConnectionConfig,
) -> tuple[Outputs, bool]:
    """Executes one component, or takes it from the cache; (its outputs, whether cached).

    Raises:
      _ResultDamaged: what is in the cache is not what was written; it will not be taken again.
    """
    deployment = runner_utils.extract_local_deployment_config(ir)
    name = node.node_info.id
    info = launcher.Launcher(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, name),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
    ).launch()
    # What it made of the signal is not recorded as its result, and is made again.
    termination.raise_if_arrived()
    with metadata.Metadata(connection) as handle:
        outputs = history.outputs(handle.store, info.execution_id)
        written = list(itertools.chain.from_iterable(outputs.values()))
        cached = history.was_cached(handle.store, info.execution_id)
        if not cached:
            artifacts.record(handle.store, written)
        elif damaged := artifacts.find_damaged(written):
            artifacts.give_up(handle.store, damaged)
            raise _ResultDamaged(name, [artifact.uri for artifact in damaged])
    return outputs, cached


def _give_memory_back() -> None:
    """Hands what the C library keeps of freed memory to the system: after ExampleGen much of it.

    glibc alone has a word for it (malloc_trim(3)); elsewhere nothing is done.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _without_arguments() -> Iterator[None]:
    """Hides our command line from TFX, which hands `sys.argv` to every Beam pipeline."""
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments
