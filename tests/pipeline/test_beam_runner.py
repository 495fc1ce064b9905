import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import grpc
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from tfx.utils import dependency_utils

from pipeline.beam_runner import (
    ProcessRunner,
    arguments_problem,
    beam_arguments,
    runner_problem,
    service_problem,
)
from tests.loopback import free_ports
from tests.waiting import wait_until

NO_IMAGE = "--sdk_container_image=none"
IN_PROCESS = ("--runner=FnApiRunner", NO_IMAGE)
OURS = "--runner=pipeline.beam_runner.ProcessRunner"
PORTABLE = "--runner=PortableRunner"
FULL_NAME = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
PROCESSES = "--direct_running_mode=multi_processing"
EXTERNAL = (PORTABLE, "--environment_type=EXTERNAL")
OWN_IMAGE = "--sdk_container_image=theirs"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), IN_PROCESS),
        (("--direct_num_workers=2",), (*IN_PROCESS, "--direct_num_workers=2")),
        (("--runner=FlinkRunner", "--x=1"), ("--runner=FlinkRunner", "--x=1")),
        (("--runner", "FlinkRunner"), ("--runner", "FlinkRunner")),
        (EXTERNAL, (NO_IMAGE, *EXTERNAL)),
    ],
)
def test_the_runner_is_named_unless_the_user_names_one(given, expected):
    assert beam_arguments(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((PROCESSES,), (*IN_PROCESS, PROCESSES, OURS)),
        (tuple(PROCESSES.split("=")), (*IN_PROCESS, *PROCESSES.split("="), OURS)),
        (("--runner=FnApiRunner", PROCESSES), ("--runner=FnApiRunner", PROCESSES, OURS)),
        (("--runner", "DirectRunner", PROCESSES), ("--runner", "DirectRunner", PROCESSES, OURS)),
        # Beam takes a runner's name in any case, or with its module, and the last one.
        (("--runner=fnapirunner", PROCESSES), ("--runner=fnapirunner", PROCESSES, OURS)),
        ((FULL_NAME, PROCESSES), (FULL_NAME, PROCESSES, OURS)),
        (
            ("--runner=FnApiRunner", PORTABLE, PROCESSES),
            ("--runner=FnApiRunner", PORTABLE, PROCESSES),
        ),
        (("--runner=FlinkRunner", PROCESSES), ("--runner=FlinkRunner", PROCESSES)),
    ],
)
def test_processes_of_this_machine_are_started_by_our_runner(given, expected):
    assert beam_arguments(given) == expected
    with_runner = beam.Pipeline(argv=[*expected, "--direct_num_workers=2"])
    assert isinstance(with_runner.runner, ProcessRunner) == (OURS in expected)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--runnr=PortableRunner",), "unknown option of Beam '--runnr': did you mean '--runner'?"),
        ((OURS, "--x", "1"), "unknown option of Beam '--x': see docs/beam.md"),
        (("--help",), "unknown option of Beam '--help'"),
        ((PORTABLE, "-h"), "unknown option of Beam '-h'"),
        (("--direct_num_workers=two",), "argument --direct_num_workers: invalid int value: 'two'"),
        (("--direct_running_mode=threads",), "argument --direct_running_mode: invalid choice"),
        (("--runner",), "argument --runner: expected one argument"),
        (
            ("--direct_num_workers=-1",),
            "beam_args has -1 as direct_num_workers, expected 1 or more, or 0 for one per CPU",
        ),
    ],
)
def test_arguments_that_beam_would_leave_out_or_end_the_run_for_are_a_problem(given, problem):
    assert problem in arguments_problem(given)


def test_the_first_of_such_arguments_is_named():
    problem = arguments_problem((PORTABLE, "-h", "--help"))
    assert problem == "unknown option of Beam '-h': see docs/beam.md"


@pytest.mark.parametrize(
    "given",
    [
        *((), (PROCESSES, "--direct_num_workers=0"), (*EXTERNAL, "--parallelism=2")),
        (*EXTERNAL, "--fasterCopy=true"),  # of Flink's job server
    ],
)
def test_arguments_of_beam_and_those_of_a_job_service_are_taken(given):
    assert arguments_problem(given) == ""


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--runner=FnApiRunner",),
        ("--runner", "DirectRunner", PROCESSES),
        ("--runner=DaskRunner", "--runner=PortableRunner"),  # Beam takes the last
        (OURS,),
    ],
)
def test_runners_that_compute_right_results_are_taken(given):
    assert runner_problem(given) == ""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--runner=DaskRunner",), "'DaskRunner' computes wrong results without a word"),
        (
            ("--runner", "apache_beam.runners.dask.dask_runner.DaskRunner"),
            "'DaskRunner' computes wrong results without a word",
        ),
        (("--runner=daskrunner",), "'daskrunner' computes wrong results without a word"),
        (("--runner=RayRunner",), "'RayRunner' was not seen to compute what one process does"),
    ],
)
def test_any_other_runner_is_a_problem_with_its_reason(given, problem):
    assert problem in runner_problem(given)


@pytest.mark.parametrize(
    "given", [(), ("--runner=FnApiRunner", "--job_endpoint=nowhere:1"), (OURS,)]
)
def test_runners_without_a_job_service_look_for_none(given):
    assert service_problem(given) == ""


@pytest.mark.parametrize("endpoint", [None, "8099", "host:http", ":8099", "host:99999"])
def test_the_address_of_a_job_service_has_a_host_and_a_port(endpoint):
    given = () if endpoint is None else (f"--job_endpoint={endpoint}",)
    assert service_problem((PORTABLE, *given)).startswith(
        f"Beam's --job_endpoint is {endpoint or ''!r}, expected the address of a job service, "
    )


def test_a_job_service_that_does_not_answer_is_a_problem():
    (port,) = free_ports(1)
    problem = service_problem((PORTABLE, f"--job_endpoint=localhost:{port}"))
    assert problem.startswith(f"no job service of Beam answers at 'localhost:{port}'")
    assert "Connection refused" in problem


def test_what_takes_connections_and_is_silent_is_a_problem(monkeypatch):
    """Such as a port-forward whose pod is gone."""
    monkeypatch.setattr("pipeline.beam_runner._ANSWER_S", 0.5)
    with socket.create_server(("localhost", 0)) as server:
        problem = service_problem((PORTABLE, f"--job_endpoint=localhost:{server.getsockname()[1]}"))
    assert "(it takes connections, but no gRPC within 0.5 s): start it" in problem


def test_a_job_service_that_answers_is_none():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    assert service_problem((PORTABLE, f"--job_endpoint=localhost:{port}")) == ""
    server.stop(None).wait()


@pytest.mark.parametrize("given", [(), EXTERNAL, (PORTABLE, "--environment_type", "EXTERNAL")])
def test_tfx_does_not_pack_itself_up_for_workers_that_have_it(given):
    """It packs itself up unless an argument says where the workers get their packages from."""
    arguments = list(beam_arguments(given))
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


def test_the_image_that_the_user_names_is_that_of_the_workers():
    options = PipelineOptions(list(beam_arguments((*EXTERNAL, OWN_IMAGE))))
    assert options.view_as(WorkerOptions).sdk_container_image == "theirs"


@pytest.mark.once_newer  # tests/e2e/test_beam_runners.py
def test_workers_are_processes_of_this_machine_that_have_our_packages(tmp_path: Path):
    folder, runner = str(tmp_path), os.getpid()

    def work(_: int) -> None:  # in a worker, which gets this function and not this module
        import os
        import pathlib

        import psutil

        import components.example_gen.images

        assert components.example_gen.images
        words = psutil.Process().cmdline()
        pathlib.Path(folder, str(os.getpid())).write_text(" ".join(words))
        found = psutil.Process(runner).net_connections("tcp")
        heard = sorted(one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN)
        pathlib.Path(folder, "heard").write_text(" ".join(heard))

    arguments = beam_arguments(("--direct_num_workers=2", PROCESSES))
    with beam.Pipeline(argv=list(arguments)) as pipeline:
        _ = pipeline | beam.Create(range(100)) | beam.Reshuffle() | beam.Map(work)
    # Beam itself listens on all interfaces, and a peer could run code.
    heard = (tmp_path / "heard").read_text().split()
    assert heard
    assert set(heard) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    workers = [path for path in tmp_path.iterdir() if path.name != "heard"]
    assert len(workers) == 2
    assert str(os.getpid()) not in {path.name for path in workers}
    for path in workers:
        assert "child_main.py pipeline.beam_worker" in path.read_text()


def in_workers(work: str) -> list[str]:
    """A command that runs a pipeline, with `work` in two workers."""
    code = f"""
import apache_beam as beam
from pipeline.beam_runner import WorkerLost, beam_arguments
from trainer.host.termination import Terminated, terminable

def work(number):
    import os, signal, sys
    {work}

arguments = beam_arguments(("--direct_num_workers=2", "{PROCESSES}"))
try:
    with terminable(), beam.Pipeline(argv=list(arguments)) as pipeline:
        _ = pipeline | beam.Create(range(100)) | beam.Reshuffle() | beam.Map(work) | beam.Map(print)
except WorkerLost as lost:
    print("lost:", lost)
except Terminated:
    print("terminated", flush=True)
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("work", "said"),
    [
        pytest.param(
            "if number == 50: os.kill(os.getpid(), signal.SIGKILL)",
            "was killed by SIGKILL",
            marks=pytest.mark.once_newer,  # tests/e2e/test_beam_runners.py
        ),
        pytest.param("os._exit(3)", "ended with code 3", marks=pytest.mark.once),
    ],
)
def test_a_lost_worker_ends_the_run_with_one_line(work: str, said: str):
    """Beam's own runner would wait for the worker's answers for ever."""
    done = subprocess.run(in_workers(work), capture_output=True, text=True, timeout=300, check=True)
    lost = [line for line in done.stdout.splitlines() if line.startswith("lost: ")]
    assert len(lost) == 1
    assert said in lost[0]


def started_workers(run: subprocess.Popen, *, connected: bool) -> list[psutil.Process]:
    """Waits for them, also until they are at work if that is asked for."""

    def there() -> bool:
        found = psutil.Process(run.pid).children()
        return len(found) == 2 and (not connected or all(one.net_connections() for one in found))

    wait_until(there, run)
    return psutil.Process(run.pid).children()


@pytest.mark.once
@pytest.mark.parametrize("connected", [False, True])
def test_workers_end_with_a_killed_run_also_where_they_import_or_are_stopped(connected: bool):
    command = in_workers("__import__('time').sleep(600)")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as run:
        workers = started_workers(run, connected=connected)
        if connected:
            workers[0].suspend()
        run.kill()
    _, left = psutil.wait_procs(workers, timeout=300)
    for worker in left:
        worker.kill()
    assert left == []


@pytest.mark.once
def test_sigterm_does_not_wait_for_a_worker_that_does_not_end():
    command = in_workers("__import__('time').sleep(600)")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        workers = started_workers(run, connected=True)
        workers[0].suspend()
        run.terminate()
        said, _ = run.communicate(timeout=300)
    _, left = psutil.wait_procs(workers, timeout=300)
    assert (run.returncode, said, left) == (143, "terminated\n", [])
