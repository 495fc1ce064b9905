"""Beam's arguments, and the processes that Beam starts on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.pipeline import Pipeline
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from trainer.host.children import ending, python_child
from trainer.host.termination import arrived
from trainer.host.text import is_port, quoted, unknown

_PROCESSES = "multi_processing"  # a value of --direct_running_mode
_ANSWER_S = 10.0  # a job service answers at once
_NOTICE_S = 0.1  # how often requests to a lost worker are looked for
_WORKER = "pipeline.beam_worker"
_LOCAL = frozenset({"FnApiRunner", "DirectRunner"})  # values of --runner
# The runners on which a whole pipeline was seen to give the results of one process.
_PROVEN = ("FnApiRunner", "DirectRunner", "PortableRunner")
_WRONG = {
    "daskrunner": "computes wrong results without a word: a second sink is never run, what "
    "finish_bundle yields is lost, and tagged outputs are mixed",
}


class _Parser(_BeamArgumentParser):  # type: ignore[misc]
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)  # argparse would print its usage, and end this process


def arguments_problem(given: tuple[str, ...]) -> str:
    """Says which argument Beam could not read, or would leave out unread; "" if there is none.

    A job service has options of its own, so those that are not known here are refused only where
    Beam runs in this process.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    # As Beam does (`PipelineOptions.get_all_options`).
    for options in {str(one): one for one in PipelineOptions.__subclasses__()}.values():
        options._add_argparse_args(parser)
    try:
        known, others = parser.parse_known_args(given)
    except ValueError as error:
        return f"beam_args cannot be read ({error}): give what Beam takes, see docs/beam.md"
    workers = known.direct_num_workers
    if workers < 0:
        return (
            f"beam_args has {workers} as direct_num_workers, expected 1 or more, or 0 for one per "
            "CPU"
        )
    if not _is_local(known.runner):
        others = [one for one in others if one in ("-h", "--help")]  # for which Beam would end us
    if not others:
        return ""
    name, names = others[0].partition("=")[0], parser._option_string_actions
    return unknown("option of Beam", name, names, see="see docs/beam.md")


def _is_local(runner: str | None) -> bool:
    local = {one.lower() for one in (*_LOCAL, ProcessRunner.__name__)}
    return runner is None or runner.rpartition(".")[2].lower() in local


def runner_problem(given: tuple[str, ...]) -> str:
    """Says why the runner that Beam's arguments name may compute wrong results; "" if not."""
    named = PipelineOptions(list(given)).view_as(StandardOptions).runner
    name = (named or _PROVEN[0]).rpartition(".")[2]
    if name.lower() in {proven.lower() for proven in (*_PROVEN, ProcessRunner.__name__)}:
        return ""
    why = _WRONG.get(name.lower(), "was not seen to compute what one process does")
    return f"Beam's runner {quoted(name)} {why}; expected one of {', '.join(_PROVEN)}"


def service_problem(given: tuple[str, ...]) -> str:
    """Says why no job could be given to the service that Beam's arguments name; "" if one could.

    Beam waits five minutes for a service, and its error then has no text.
    """
    options = PipelineOptions(list(given))
    runner = options.view_as(StandardOptions).runner or ""
    if runner.rpartition(".")[2].lower() != "portablerunner":
        return ""
    endpoint = options.view_as(PortableOptions).job_endpoint or ""
    host, _, port = endpoint.rpartition(":")
    if not (host and is_port(port)):
        return (
            f"Beam's --job_endpoint is {quoted(endpoint)}, expected the address of a job service, "
            "as in --beam-arg --job_endpoint=localhost:8099"
        )
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()  # its error says why
        with grpc.insecure_channel(endpoint) as channel:
            grpc.channel_ready_future(channel).result(_ANSWER_S)
    except (OSError, grpc.FutureTimeoutError) as error:
        why = str(error) or f"it takes connections, but no gRPC within {_ANSWER_S:g} s"
        return (
            f"no job service of Beam answers at {quoted(endpoint)} ({why}): start it, or give "
            "the address of another with --beam-arg --job_endpoint=HOST:PORT, see docs/beam.md"
        )
    return ""


def beam_arguments(given: tuple[str, ...]) -> tuple[str, ...]:
    """Adds the runner unless the user names one, and `ProcessRunner` for several processes here.

    Beam's own default, Prism, downloads a Go binary. `--sdk_container_image=none` keeps TFX from
    building a package of itself for each component, which takes 0.9 s and leaves 49 MB behind
    (tfx/utils/dependency_utils.py, `make_beam_dependency_flags`); workers that the user started
    have the packages.
    """
    options = PipelineOptions(list(given))
    runner = options.view_as(StandardOptions).runner
    arguments = given
    if runner is None or options.view_as(PortableOptions).environment_type == "EXTERNAL":
        arguments = ("--sdk_container_image=none", *arguments)
    if runner is None:
        arguments = ("--runner=FnApiRunner", *arguments)
    mode = options.view_as(DirectOptions).direct_running_mode
    if mode == _PROCESSES and _is_local(runner):
        # Of two equal arguments Beam takes the last.
        return (*arguments, f"--runner={__name__}.{ProcessRunner.__name__}")
    return arguments


class WorkerLost(Exception):
    """A worker on this machine ended before its job did."""


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class _WorkerProcess(SubprocessSdkWorkerHandler):
    """A worker whose end before that of the job is an error of the job.

    Beam itself would wait for its answers for ever (`ControlConnection._read`).
    """

    lost: ClassVar[list[str]] = []  # how workers of the present job ended

    def start_worker(self) -> None:
        self._closed = threading.Event()
        worker = SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(target=self._run, args=[worker], daemon=True)
        self.worker_thread.start()

    def stop_worker(self) -> None:
        if not arrived():  # after a signal a worker at work ends with this process
            super().stop_worker()

    def close(self) -> None:
        self._closed.set()
        # Beam ends the requests of a worker that is connected; one that connects later would wait.
        self.control_conn.push(BeamFnControlServicer._DONE_MARKER)
        super().close()

    def _run(self, worker: SubprocessSdkWorker) -> None:
        try:
            worker.run()
        except RuntimeError as error:  # its text ends with the exit status
            if self._closed.is_set():
                return
            self.lost.append(ending(int(str(error).rpartition(" ")[2])))
            answer = beam_fn_api_pb2.InstructionResponse(error=str(error))
            while not self._closed.wait(_NOTICE_S):
                for waiting in [*self.control_conn._futures_by_id.values()]:
                    waiting.set(answer)


class ProcessRunner(FnApiRunner):
    """Beam's runner on this machine, with processes that import nothing from the working directory.

    Beam itself would start them by `python -m` (fn_api_runner/fn_runner.py, `run_pipeline`).
    """

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> Any:
        """Raises `WorkerLost`, besides what Beam raises."""
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode != _PROCESSES:
            return super().run_pipeline(pipeline, options)
        direct.direct_running_mode = None  # or Beam takes its own command
        environment = SubprocessSDKEnvironment.from_command_string(_worker_command())
        _WorkerProcess.lost.clear()
        try:
            with _on_loopback():
                return FnApiRunner(default_environment=environment).run_pipeline(pipeline, options)
        except Exception as error:
            if not _WorkerProcess.lost:
                raise
            raise WorkerLost(
                f"a worker process of Beam {_WorkerProcess.lost[0]}: see the log; the same command "
                "goes on with the finished components"
            ) from error


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Lets Beam's servers listen on the loopback interface, for which Beam has no option: a peer
    can run code.
    """
    modules: tuple[Any, ...] = (worker_handlers, local_job_service)
    try:
        for module in modules:
            module.grpc = _LoopbackGrpc()
        yield
    finally:
        for module in modules:
            module.grpc = grpc


class _LoopbackGrpc:
    def __getattr__(self, name: str) -> Any:
        return getattr(grpc, name)

    def server(self, *arguments: Any, **settings: Any) -> grpc.Server:
        server: Any = grpc.server(*arguments, **settings)
        listen = server.add_insecure_port
        server.add_insecure_port = lambda address: listen(address.replace("[::]", "localhost"))
        return server


def _worker_command() -> str:
    """A shell command that `exec`s the worker, so that ending the shell ends the worker."""
    child = python_child(_WORKER, str(os.getpid()))
    path = child.environment.get("PYTHONPATH", "")  # Beam hands on all variables as they are
    own = f"TMPDIR={tempfile.gettempdir()}"  # which this process removes
    return shlex.join(["exec", "env", f"PYTHONPATH={path}", own, *child.command])
