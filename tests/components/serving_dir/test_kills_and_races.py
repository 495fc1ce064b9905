"""No kill at any moment leaves an incomplete version, or loses one; no reader sees one.

The races of two changes are in test_stale_decisions.py.
"""

import dataclasses
import random
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from components.serving_dir import (
    LOG_NAME,
    find,
    live,
    newest_valid,
    prune,
    publish,
    rollback,
    verify,
    versions,
    withdrawn_digests,
)
from tests.components.serving_dir.samples import (
    hidden_in,
    killed_at_every_call,
    marks_in,
    numbers,
    publish_letters,
    python,
    release,
    start_changer,
)

pytestmark = pytest.mark.once

KILL_ROUNDS = 21
KILL_SEED = 20261123
POLLED_ROUNDS = 40
KEPT = 2

# Publishes ever new models; every other time it rolls back then, and prunes.
OPERATOR = f"""
import sys
from pathlib import Path
from components import serving_dir
serving, model = Path(sys.argv[1]), Path(sys.argv[2])
for number in range({POLLED_ROUNDS}):
    (model / "number").write_text(str(number))
    serving_dir.publish(model, serving, {{}})
    if number % 2:
        serving_dir.rollback(serving)
        serving_dir.prune(serving, {KEPT})
"""


@dataclasses.dataclass(frozen=True)
class Before:
    """What was in a serving directory before a change that may be killed."""

    live: int
    numbers: frozenset[int]
    marks: dict[int, int]
    withdrawn: frozenset[str]
    prunable: frozenset[int]

    @classmethod
    def of(cls, serving: Path, keep: int) -> "Before":
        removed = prune(serving, keep, dry_run=True).removed
        return cls(
            live(serving).number,
            frozenset(numbers(serving)),
            marks_in(serving),
            frozenset(withdrawn_digests(serving)),
            frozenset(version.version for version in removed),
        )

    def assert_nothing_is_lost(self, serving: Path, change: str) -> None:
        present = versions(serving, check_files=True)
        assert [version.problems for version in present] == [()] * len(present)
        assert present[-1].number in (self.live, self.live + (change != "prune"))
        assert self.withdrawn <= withdrawn_digests(serving).keys()
        lost = self.numbers - {version.number for version in present}
        assert lost <= (self.prunable if change == "prune" else frozenset())
        marks = {number: by for number, by in self.marks.items() if number not in lost}
        if change == "rollback" and present[-1].number > self.live:
            assert marks_in(serving).items() >= {self.live: present[-1].number}.items()
            assert marks_in(serving).keys() >= marks.keys()
        else:
            assert marks_in(serving) == marks


@pytest.mark.parametrize(
    ("change", "arguments"),
    [("publish", "model, serving, {}"), ("rollback", "serving, 1"), ("prune", f"serving, {KEPT}")],
)
def test_sigkill_at_every_file_system_call_loses_nothing(
    change: str, arguments: str, model: Path, other_model: Path, tmp_path: Path
) -> None:
    template = tmp_path / "template" / "serving"
    publish_letters(template, "abc")
    rollback(template, 2)
    publish_letters(template, "de")
    before = Before.of(template, KEPT)
    assert (before.marks, len(before.prunable)) == ({3: 4}, 4)
    (template / LOG_NAME).unlink()  # as a rollback leaves it that was killed after its rename

    changed = killed_at_every_call(template, model, f"serving_dir.{change}({arguments})")
    for serving in changed:
        before.assert_nothing_is_lost(serving, change)
        publish(other_model, serving, {})
        assert verify(live(serving)) == ()
        assert hidden_in(serving) == []
    # At the least the lock, the names there, and what each file takes.
    assert len(changed) > 20


@pytest.mark.slow
def test_sigkill_at_random_moments_loses_nothing(
    large_model: Path, other_model: Path, serving: Path
) -> None:
    """21 rounds of publish, rollback and prune, each killed; the state grows from round to round.

    The delays go a little beyond the median duration: kills before, at and after the rename.
    """
    generator = random.Random(KILL_SEED)
    attempts = 0

    def publish_another(model: Path) -> int:
        nonlocal attempts
        attempts += 1
        (model / "attempt").write_text(str(attempts))
        return publish(model, serving, {}).version

    def begin(change: str) -> "tuple[Before, subprocess.Popen[str]]":
        """Starts a change that will find something to do."""
        for model in (large_model, other_model):
            publish_another(model)
        (large_model / "attempt").write_text(f"after {attempts}")  # never withdrawn
        argument = {"publish": large_model, "rollback": "", "prune": KEPT}[change]
        return Before.of(serving, KEPT), start_changer(serving, change, argument)

    def duration_s(change: str) -> float:
        _, process = begin(change)
        started = time.monotonic()
        release(process)
        assert process.stdout.readline()
        seconds = time.monotonic() - started
        process.communicate()
        return seconds

    changes = ("publish", "rollback", "prune")
    span_s = {c: 1.2 * statistics.median(duration_s(c) for _ in range(3)) for c in changes}
    cut_short = dict.fromkeys(changes, 0)
    for number in range(KILL_ROUNDS):
        change = changes[number % len(changes)]
        before, process = begin(change)
        release(process)
        time.sleep(generator.uniform(0, span_s[change]))
        process.kill()
        cut_short[change] += not process.communicate()[0]

        before.assert_nothing_is_lost(serving, change)
        # The next change works, whichever it is, takes the next number, and cleans up.
        following = live(serving).number + 1
        if number % 2:
            assert rollback(serving).version == following
        else:
            assert publish_another(other_model) == following
        assert newest_valid(serving).number == following
        assert hidden_in(serving) == []
        prune(serving, KEPT)
    print(f"kills that came in time, of {KILL_ROUNDS}: {cut_short}")
    assert min(cut_short.values()) > 0


def test_reader_never_sees_an_incomplete_highest_version(large_model: Path, serving: Path) -> None:
    """The reader does what TensorFlow Serving does: it polls, and loads the highest number."""
    operator = python(OPERATOR, serving, large_model)
    seen = set()
    while operator.poll() is None:
        if not numbers(serving):
            continue
        highest = find(serving)
        if verify(highest):
            # Pruned while it was read, which happens to a version that is not the highest any more.
            assert not highest.path.exists()
            assert live(serving).number > highest.number
        else:
            seen.add(highest.number)
    assert operator.returncode == 0
    operator.communicate()
    assert numbers(serving)[-1] == POLLED_ROUNDS + POLLED_ROUNDS // 2
    assert len(seen) > 1
