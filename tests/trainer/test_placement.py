import types

import pytest

from trainer.host.memory import Room
from trainer.hparams import HParams
from trainer.job import Job
from trainer.placement import choose

MACHINE = Room(8_000_000_000, "this machine")
GROUP = Room(1_000_000_000, "its control group (container)")


@pytest.mark.parametrize(
    ("num_bytes", "processes", "chosen"),
    [
        (4_000_000_000, 1, "memory"),
        (4_000_000_001, 1, "stream"),
        (2_000_000_000, 2, "memory"),
        (2_000_000_001, 2, "stream"),
    ],
)
def test_auto_takes_memory_while_all_processes_need_at_most_half_of_what_is_left(
    num_bytes: int, processes: int, chosen: str
) -> None:
    assert choose("auto", num_bytes, MACHINE, processes=processes)[0] == chosen


def test_the_line_says_what_was_chosen_and_from_which_numbers() -> None:
    assert choose("auto", 43_000_000, MACHINE)[1] == (
        "input: memory, because 43.0 MB of decoded images fit into half of the 8.0 GB that this "
        "machine has left"
    )
    assert choose("auto", 600_000_000, GROUP, processes=2)[1] == (
        "input: stream, because 600.0 MB of decoded images times 2 processes exceed half of the "
        "1.0 GB that its control group (container) has left"
    )


@pytest.mark.parametrize("asked", ["memory", "stream"])
def test_what_is_asked_for_is_taken(asked: str) -> None:
    line = f"input: {asked}, as training.input says"
    assert choose(asked, 10**15, GROUP) == (asked, line)


def test_where_the_pixels_lie_is_no_part_of_what_keys_are_made_of() -> None:
    assert HParams(input="stream").to_config() == HParams().to_config()
    with pytest.raises(
        ValueError, match=r"training\.input is 'disk', expected one of auto, memory"
    ):
        HParams(input="disk")


def test_it_reaches_the_job_by_the_environment_and_the_job_by_its_file(monkeypatch) -> None:
    arguments = types.SimpleNamespace(
        train_files=["train"],
        eval_files=["eval"],
        transform_graph_path="graph",
        custom_config=dict.fromkeys(
            ("spec", "hparams", "seed", "replicas", "code", "checkpoints"), 0
        ),
    )
    monkeypatch.delenv("TFX_MNIST_INPUT", raising=False)
    assert Job.from_fn_args(arguments).input == "auto"
    monkeypatch.setenv("TFX_MNIST_INPUT", "stream")
    job = Job.from_fn_args(arguments)
    monkeypatch.delenv("TFX_MNIST_INPUT")
    assert Job.from_json(job.to_json()).input == "stream"


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        (None, "spec, hparams, seed, replicas, code, checkpoints"),
        ({"spec": 0, "hparams": 0, "seed": 0, "replicas": 0}, "code, checkpoints"),
        ({"spec": 0, "hparams": 0, "seed": 0, "replicas": 0, "tuning": 0}, "code, searches"),
    ],
)
def test_a_job_names_the_keys_that_its_configuration_lacks(given, lacks) -> None:
    with pytest.raises(ValueError, match=f"custom_config lacks {lacks}, expected spec, "):
        Job.from_fn_args(types.SimpleNamespace(custom_config=given))


def test_a_search_counts_its_processes_and_a_training_one() -> None:
    job = Job([], [], "", {"tuning": {"parallel_trials": 3}, "searches": "/root/tuning"})
    assert job.processes == 3
    assert Job([], [], "", {"checkpoints": "/root/checkpoints"}).processes == 1


def test_scratch_files_lie_in_tmpdir_or_in_the_pipeline_root(monkeypatch) -> None:
    jobs = [Job([], [], "", {name: f"/root/{name}"}) for name in ("checkpoints", "searches")]
    monkeypatch.delenv("TMPDIR", raising=False)
    assert [str(job.scratch) for job in jobs] == ["/root", "/root"]
    monkeypatch.setenv("TMPDIR", "/fast")
    assert [str(job.scratch) for job in jobs] == ["/fast", "/fast"]
