"""No kill at any moment and no race leaves an incomplete version, or loses one."""

import dataclasses
from pathlib import Path

import pytest

from components.serving_dir import (
    LOG_NAME,
    digest_of,
    find,
    live,
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

RACE_ROUNDS = 5
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


def test_two_publishers_at_once_give_two_versions(
    large_model: Path, other_model: Path, tmp_path: Path
) -> None:
    for attempt in range(RACE_ROUNDS):
        serving = tmp_path / f"serving-{attempt}"
        models = (large_model, other_model)
        publishers = [start_changer(serving, "publish", model) for model in models]
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
    publishers = [start_changer(serving, "publish", large_model) for _ in range(2)]
    for publisher in publishers:
        release(publisher)
    assert [publisher.communicate()[0] for publisher in publishers] == ["1\n", "1\n"]
    assert numbers(serving) == [1]


def test_a_publisher_and_a_rollback_at_once_give_two_versions(
    large_model: Path, serving: Path
) -> None:
    publish_letters(serving, "ab")
    both = [
        start_changer(serving, "rollback"),
        start_changer(serving, "publish", large_model),
    ]
    for process in both:
        release(process)
    assert sorted(process.communicate()[0] for process in both) == ["3\n", "4\n"]
    checked = versions(serving, check_files=True)
    assert [version.problems for version in checked] == [()] * 4
    # Whichever came first, the version that was live then is withdrawn.
    assert marks_in(serving) in ({2: 3}, {3: 4})


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
