import os
from pathlib import Path

import apache_beam as beam
import pytest
from tfx.utils import dependency_utils

from pipeline.beam_runner import ProcessRunner, beam_arguments, runner_problem

IN_PROCESS = ("--runner=FnApiRunner", "--sdk_container_image=none")
OURS = "--runner=pipeline.beam_runner.ProcessRunner"
PROCESSES = "--direct_running_mode=multi_processing"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), IN_PROCESS),
        (("--direct_num_workers=2",), (*IN_PROCESS, "--direct_num_workers=2")),
        (("--runner=FlinkRunner", "--x=1"), ("--runner=FlinkRunner", "--x=1")),
        (("--runner", "FlinkRunner"), ("--runner", "FlinkRunner")),
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
        (("--runner=FlinkRunner", PROCESSES), ("--runner=FlinkRunner", PROCESSES)),
    ],
)
def test_processes_of_this_machine_are_started_by_our_runner(given, expected):
    assert beam_arguments(given) == expected
    with_runner = beam.Pipeline(argv=[*expected, "--direct_num_workers=2"])
    assert isinstance(with_runner.runner, ProcessRunner) == (OURS in expected)


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


def test_tfx_does_not_pack_itself_up_for_components_that_run_in_this_process():
    """It packs itself up unless an argument says where the workers get their packages from."""
    given = list(beam_arguments(()))
    assert dependency_utils.make_beam_dependency_flags(given) == given


def test_workers_are_processes_of_this_machine_that_have_our_packages(tmp_path: Path):
    folder = str(tmp_path)

    def work(_: int) -> None:  # in a worker, which gets this function and not this module
        import os
        import pathlib

        import psutil

        import components.example_gen.images

        assert components.example_gen.images
        words = psutil.Process().cmdline()
        pathlib.Path(folder, str(os.getpid())).write_text(" ".join(words))

    arguments = beam_arguments(("--direct_num_workers=2", PROCESSES))
    with beam.Pipeline(argv=list(arguments)) as pipeline:
        _ = pipeline | beam.Create(range(100)) | beam.Reshuffle() | beam.Map(work)
    workers = list(tmp_path.iterdir())
    assert len(workers) == 2
    assert str(os.getpid()) not in {path.name for path in workers}
    for path in workers:
        assert "child_main.py apache_beam.runners.worker.sdk_worker_main" in path.read_text()
