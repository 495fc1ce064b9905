"""Executes a plan component by component, and reads the results.

TFX's LocalDagRunner runs the same loop, but tells neither which component runs nor which results
came from the cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components import serving_dir
from components.example_gen.data_error import DataError
from components.gate.check import GateRefused
from components.pictures import Pictures
from components.serving_check import servers
from pipeline import stores
from pipeline.executions import NoMetadata
from pipeline.graph import create_pipeline
from pipeline.quick_beam import remember_answers
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, RunResult
from pipeline.run_plan import RunPlan
from pipeline.runners import artifact_digests, outcome
from pipeline.runners.copies import Copies
from pipeline.runners.failures import limit_reached, no_permission, no_space
from pipeline.runners.locking import removed
from pipeline.runners.observer import Observer
from trainer.host import termination
from trainer.host.text import first_line
from trainer.training_process import start_early

_log = logging.getLogger(__name__)


class _BeginAgain(Exception):
    """An earlier result cannot be taken over; the message says which."""


class _OtherModel(_BeginAgain):
    """It is not the released model, so the recorded baseline does not apply to it."""


def execute(plan: RunPlan, *, run_id: str, observer: Observer) -> RunResult:
    """Runs the components up to the first one that fails or refuses.

    A run whose served version cannot be read is refused before any component runs.
    """
    remember_answers()
    execution = _Execution(plan, run_id, observer)
    try:
        execution.run()
    finally:
        servers.end_early()
    return execution.result


class _Execution:
    def __init__(self, plan: RunPlan, run_id: str, observer: Observer) -> None:
        dataset = {"name": plan.dataset.name, "digest": plan.dataset.fingerprint}
        network = plan.config.chosen(plan.dataset.image_shape)
        self.result = RunResult(
            run_id, dataset=dataset, network=network, serving_dir=plan.serving_dir
        )
        self._plan = plan
        self._observer = observer
        self._executed: set[str] = set()
        self._outputs_of: dict[str, outcome.Outputs] = {}
        place = plan.artifacts(run_id)
        in_store = place is not None and stores.is_uri(place)
        self._copies = Copies(plan.root / "copies", place if in_store else None)
        # Where TFX puts outputs; None for where the graph says.
        self._outputs = str(self._copies.folder) if in_store else place

    def run(self) -> None:
        result = self.result
        try:
            self._plan.require_baseline()
            self._run_to_the_end()
        except (termination.Terminated, KeyboardInterrupt):
            if not termination.arrived():
                raise
            # `termination.terminable` raises again. The result says what was released by then.
        except GateRefused as refused:
            result.outcome, result.checks = REFUSED, tuple(refused.checks)
            if isinstance(refused.shown, Pictures):  # by the data gate
                result.suspects = refused.shown
        outcome.find_what_stays(result)
        result.cached = tuple(name for name in result.seconds if name not in self._executed)
        result.policy, baseline = self._plan.policy, self._plan.context.baseline
        result.overrides = self._plan.overrides
        result.baseline = None if baseline is None else baseline.to_json()

    def _run_to_the_end(self) -> None:
        run_id = self.result.run_id
        while True:
            try:
                self._run_components(run_id)
                return
            except _BeginAgain as again:
                self._observer.note(str(again))
                # In ML Metadata the unusable result belongs to the old id; others are in the cache.
                if isinstance(again, _OtherModel):
                    self._plan = self._plan.compared(self.result.run_id)
                    run_id = f"{self.result.run_id}-compared"
                else:
                    run_id += "-again"

    def _run_components(self, run_id: str) -> None:
        self.result.checks = ()  # a run that begins again asks again
        connection = metadata.sqlite_metadata_connection_config(
            str(self._plan.config.metadata_path)
        )
        pipeline = create_pipeline(self._plan)
        pipeline.metadata_connection_config = connection
        ir = compiler.Compiler().compile(pipeline)
        values = {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        if self._outputs:
            values[constants.PIPELINE_ROOT_PARAMETER_NAME] = self._outputs
        runtime_parameter_utils.substitute_runtime_parameter(ir, values)
        nodes = [node.pipeline_node for node in ir.nodes]
        self._observer.planned([node.node_info.id for node in nodes])
        with _without_arguments():
            for node in nodes:
                self._run_component(ir, node, connection)
                if self.result.outcome == REFUSED or self.result.error is not None:
                    return
        if "Pusher" not in self._executed and self.result.outcome == RELEASED:
            # An earlier run did the publishing, whatever else was executed in this one.
            self.result.outcome = UNCHANGED

    def _run_component(
        self,
        ir: pipeline_pb2.Pipeline,
        node: pipeline_pb2.PipelineNode,
        connection: metadata_store_pb2.ConnectionConfig,
    ) -> None:
        termination.raise_if_arrived()
        result, name = self.result, node.node_info.id
        self._observer.component_started(name)
        start = time.monotonic()
        try:
            _name_inputs(node, self._outputs_of)
            outputs, cached = _launch(ir, node, connection, self._copies)
            self._outputs_of[name] = outputs
            if name == "ReleaseGate" and artifact_digests.find_damaged(
                self._outputs_of["Trainer"]["model"]
            ):
                # The Evaluator may have read other files than those whose digest is decided on.
                raise _BeginAgain("The model was altered while it was judged: beginning again")
            outcome.read(result, name, outputs, self._plan.config.training)
        except _BeginAgain:
            raise
        except BaseException as error:
            self._executed.add(name)
            if not isinstance(error, Exception):
                raise  # a signal
            termination.raise_if_arrived()
            if isinstance(error, GateRefused):
                raise
            self._fail(name, error)
            return
        finally:
            _give_memory_back()
            seconds = time.monotonic() - start
            result.seconds[name] = result.seconds.get(name, 0.0) + seconds
        if not cached:
            self._executed.add(name)
            # A model will be trained on what it has made, and not only after a search.
            if name == "ExampleGen" and not self._plan.config.tuning.enabled:
                start_early(self._plan.config.replicas)
            if name == "Trainer":
                servers.start_early(self._plan.config.serving.model_server)
        self._observer.component_finished(name, seconds, cached=cached)
        if name == "Trainer" and not self._plan.context.holds_for(_digest_of(outputs["model"])):
            raise _OtherModel("The model is not the released one: comparing it with that one")

    def _fail(self, name: str, error: Exception) -> None:
        _log.error("%s failed", name, exc_info=error)
        config = self._plan.config
        line = (
            removed(Path(config.pipeline_root))
            or no_space(error, config)
            or no_permission(error, config)
            or limit_reached(error)
            or first_line(error)
        )
        self.result.outcome, self.result.error = FAILED, f"{name}: {line}"
        self.result.bad_data = isinstance(error, DataError)


def _name_inputs(
    node: pipeline_pb2.PipelineNode, outputs_of: Mapping[str, outcome.Outputs]
) -> None:
    """Gives a component its inputs by their ids.

    TFX would look for them among the executions of all runs, which takes longer with each run, and
    does not find them where the clock was set back.
    """
    for spec in node.inputs.inputs.values():
        made = [
            outputs_of[channel.producer_node_query.id].get(channel.output_key, ())
            for channel in spec.channels
        ]
        spec.ClearField("channels")
        spec.static_inputs.SetInParent()  # also of none
        spec.static_inputs.artifact_ids.extend(artifact.id for each in made for artifact in each)


def _launch(
    ir: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    connection: metadata_store_pb2.ConnectionConfig,
    copies: Copies,
) -> tuple[outcome.Outputs, bool]:
    """Executes a component; returns its outputs, on this machine, and whether they were cached."""
    deployment = runner_utils.extract_local_deployment_config(ir)
    name = node.node_info.id
    info = launcher.Launcher(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, name),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
        custom_executor_operators=copies.operators(),
    ).launch()
    # After a signal the outputs get no digests, so that the next run makes them again.
    termination.raise_if_arrived()
    with metadata.Metadata(connection) as handle:
        outputs = execution_lib.get_output_artifacts(handle, info.execution_id)
        written = list(itertools.chain.from_iterable(outputs.values()))
        (execution,) = handle.store.get_executions_by_id([info.execution_id])
        if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
            raise NoMetadata(
                "TFX did not find its inputs in metadata.sqlite, which was changed during the run: "
                "move that file away, and all is made again"
            )
        cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        if not cached:
            artifact_digests.record(handle.store, written, copies.local)
        elif damaged := artifact_digests.find_damaged(written, copies.local):
            artifact_digests.give_up(handle.store, damaged)
            raise _BeginAgain(
                f"the result of {name} in {', '.join(artifact.uri for artifact in damaged)} was "
                "altered, or never recorded: making it again"
            )
    for artifact in written:
        artifact.uri = str(copies.local(artifact.uri))
    return outputs, cached


def _digest_of(model: Sequence[Artifact]) -> str:
    return serving_dir.digest_of(Path(path_utils.serving_model_path(model[0].uri)))


def _give_memory_back() -> None:
    """Returns freed memory that glibc keeps (malloc_trim(3)), much of it after ExampleGen."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _without_arguments() -> Iterator[None]:
    """Hides our command line from TFX, which passes `sys.argv` to every Beam pipeline."""
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments
