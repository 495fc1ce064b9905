"""No kill at any moment and no race leaves an incomplete version, or loses one."""

import random
import shutil
import statistics
import time
from pathlib import Path

import pytest

from components.serving_dir import digest_of, publish, verify, versions
from tests.components.serving_dir.samples import (
    numbers,
    python,
    release,
    staging_in,
    start_publisher,
)

KILL_ROUNDS = 100
KILL_SEED = 20261123
RACE_ROUNDS = 5
POLLED_VERSIONS = 20

# Kills itself at the n-th file-system call of a publish: Python reports each as an audit event.
KILLED_AT_CALL = """
import os, signal, sys
from pathlib import Path
from components import serving_dir
left = int(sys.argv[3])
def hook(event, args):
    global left
    if event == "open" or event.split(".")[0] in ("os", "shutil", "fcntl"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
serving_dir.publish(Path(sys.argv[2]), Path(sys.argv[1]), {})
"""


@pytest.mark.slow
def test_sigkill_at_random_moments_leaves_no_incomplete_version(
    large_model: Path, other_model: Path, serving: Path
) -> None:
    durations_s = []
    for _ in range(5):
        process = start_publisher(serving, large_model)
        started = time.monotonic()
        release(process)
        process.stdout.readline()
        durations_s.append(time.monotonic() - started)
        process.communicate()
        publish(other_model, serving, {})  # so that the large model is new again
    # A little more than the median duration: kills just before, at and after the rename as well.
    span_s = 1.2 * statistics.median(durations_s)
    generator = random.Random(KILL_SEED)
    delays_s = [generator.uniform(0, span_s) for _ in range(KILL_ROUNDS)]

    killed_in_staging = 0
    for attempt, delay_s in enumerate(delays_s):
        before = numbers(serving)
        process = start_publisher(serving, large_model)
        release(process)
        time.sleep(delay_s)
        process.kill()
        process.communicate()

        added = [version for version in versions(serving) if version.number not in before]
        assert [verify(version) for version in added] in ([], [()])
        killed_in_staging += bool(staging_in(serving))
        # The next publish works, takes the next number, and cleans up.
        (other_model / "attempt").write_text(str(attempt))
        assert publish(other_model, serving, {}).version == max(before) + len(added) + 1
        assert verify(versions(serving)[-1]) == ()
        assert staging_in(serving) == []
        for version in versions(serving)[:-1]:
            shutil.rmtree(version.path)
    print(f"{killed_in_staging} of {KILL_ROUNDS} kills hit an unfinished publish")
    assert killed_in_staging > 0


def test_sigkill_at_every_file_system_call_leaves_no_incomplete_version(
    model: Path, other_model: Path, tmp_path: Path
) -> None:
    completed = False
    call = 0
    while not completed:
        call += 1
        serving = tmp_path / f"serving-{call}"
        process = python(KILLED_AT_CALL, serving, model, call)
        process.communicate()
        completed = process.returncode == 0

        assert [version.problems for version in versions(serving, check_files=True)] in ([], [()])
        publish(other_model, serving, {})
        assert [version.problems for version in versions(serving, check_files=True)][-1:] == [()]
        assert staging_in(serving) == []
    # At least: make serving/ and staging, open and create each of 3 files, the manifest, rename.
    assert call > 10


def test_two_publishers_at_once_give_two_versions(
    large_model: Path, other_model: Path, tmp_path: Path
) -> None:
    for attempt in range(RACE_ROUNDS):
        serving = tmp_path / f"serving-{attempt}"
        publishers = [start_publisher(serving, model) for model in (large_model, other_model)]
        for publisher in publishers:
            release(publisher)
        answers = [publisher.communicate()[0] for publisher in publishers]

        assert sorted(answers) == ["1\n", "2\n"]
        checked = versions(serving, check_files=True)
        assert [version.problems for version in checked] == [(), ()]
        assert {version.manifest.model_digest for version in checked} == {
            digest_of(large_model),
            digest_of(other_model),
        }


def test_two_publishers_of_one_model_give_one_version(large_model: Path, serving: Path) -> None:
    publishers = [start_publisher(serving, large_model) for _ in range(2)]
    for publisher in publishers:
        release(publisher)
    assert [publisher.communicate()[0] for publisher in publishers] == ["1\n", "1\n"]
    assert numbers(serving) == [1]


def test_reader_never_sees_an_incomplete_highest_version(
    large_model: Path, other_model: Path, serving: Path
) -> None:
    publisher = start_publisher(serving, *[large_model, other_model] * (POLLED_VERSIONS // 2))
    release(publisher)
    seen = set()
    while publisher.poll() is None:
        if highest := versions(serving)[-1:]:
            assert verify(highest[0]) == ()
            seen.add(highest[0].number)
    publisher.communicate()
    assert numbers(serving) == list(range(1, POLLED_VERSIONS + 1))
    assert seen
