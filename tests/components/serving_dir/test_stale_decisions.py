"""What was decided is published only where it still holds: whoever comes in between, at any moment.

A decision is about one model, compared with one version. The races let real processes change one
directory at once, and look at which of them came first.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import (
    Decided,
    StaleDecision,
    prune,
    publish,
    rollback,
)
from tests.components.serving_dir.samples import (
    damage,
    decided_now,
    letter_model,
    letters_in,
    marks_in,
    publish_letters,
    python,
    staging_in,
)

pytestmark = pytest.mark.once

ROUNDS = 100

# Does one change per line of input, and answers with one line.
WORKER = """
import json, sys
from pathlib import Path
from components import serving_dir
from components.serving_dir import Baseline, Comparison, Decided, ServingDirError, StaleDecision
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    serving = Path(order["serving"])
    try:
        if "model" in order:
            compared = Comparison(Baseline(**order["compared"]["baseline"]))
            decided = Decided(order["digest"], compared)
            done = serving_dir.publish(Path(order["model"]), serving, order, decided=decided)
            answer = f"published {done.version}" if done.created else "unchanged"
        else:
            done = serving_dir.rollback(serving)
            answer = f"withdrew {done.withdraws}"
    except StaleDecision:
        answer = "stale"
    except ServingDirError:
        answer = "overtaken"
    print(answer, flush=True)
"""


def decide(serving: Path, letter: str) -> Decided:
    """A decision on that letter's model, compared with what is served now."""
    return decided_now(letter_model(serving.parent, letter), serving)


def carry_out(serving: Path, letter: str, decided: Decided) -> tuple[int, bool]:
    """The version with that letter, and whether it was made."""
    done = publish(letter_model(serving.parent, letter), serving, {}, decided=decided)
    return done.version, done.created


def assert_stale(message: str, serving: Path, letter: str, decided: Decided) -> None:
    """Asserts one line of error, and that nothing is changed or left behind."""
    before = letters_in(serving)
    with pytest.raises(StaleDecision, match=message) as caught:
        carry_out(serving, letter, decided)
    assert "\n" not in str(caught.value)
    assert letters_in(serving) == before
    assert staging_in(serving) == []


# --- what still holds ----------------------------------------------------------------------------


def test_a_decision_that_holds_is_published_once(serving: Path) -> None:
    assert carry_out(serving, "a", decide(serving, "a")) == (1, True)
    decided = decide(serving, "b")
    assert carry_out(serving, "b", decided) == (2, True)
    assert carry_out(serving, "b", decided) == (2, False)
    assert carry_out(serving, "b", decide(serving, "b")) == (2, False)


def test_damage_that_the_decision_knew_of_is_no_change(serving: Path) -> None:
    publish_letters(serving, "ab")
    damage(serving, 2)
    decided = decide(serving, "c")
    assert (decided.compared.baseline.version, bool(decided.compared.damage)) == (1, True)
    assert carry_out(serving, "c", decided) == (3, True)


def test_pruning_what_nobody_is_compared_with_is_no_change(serving: Path) -> None:
    publish_letters(serving, "abcd")
    decided = decide(serving, "e")
    assert [removed.version for removed in prune(serving, 1).removed] == [1, 2]
    assert carry_out(serving, "e", decided) == (5, True)


# --- what does not hold any more -----------------------------------------------------------------


def withdraw(serving: Path) -> None:
    rollback(serving, reason="sevens")


def release_another(serving: Path) -> None:
    publish_letters(serving, "d")


def release_and_roll_back(serving: Path) -> None:
    publish_letters(serving, "d")
    rollback(serving)
    assert marks_in(serving) == {2: 3}


def put_another_under_its_number(serving: Path) -> None:
    shutil.rmtree(serving / "1")
    publish_letters(serving, "d")


def damage_the_live_one(serving: Path) -> None:
    damage(serving, 2)


@pytest.mark.parametrize(
    ("letters", "change", "message"),
    [
        ("a", release_another, r"1 \(model \w{8}\), but .* version 2 \(model \w{8}\); run again"),
        ("", release_another, "compared with no version, but .* with version 1"),
        ("ab", withdraw, "compared with version 2 .* with version 3"),
        ("a", release_and_roll_back, "compared with version 1 .* with version 3"),
        ("a", put_another_under_its_number, "compared with version 1 .* with version 1 "),
        ("ab", damage_the_live_one, "with version 1 .* because of damage: version 2"),
    ],
)
def test_what_it_was_compared_with_was_changed_meanwhile(
    letters: str, change: Callable[[Path], None], message: str, serving: Path
) -> None:
    publish_letters(serving, letters)
    decided = decide(serving, "c")
    change(serving)
    assert_stale(message, serving, "c", decided)


def test_the_damage_was_repaired_meanwhile(serving: Path) -> None:
    publish_letters(serving, "ab")
    damage(serving, 2)
    decided = decide(serving, "c")
    (serving / "2" / "saved_model.pb").write_text("b")
    assert_stale("because of damage: .* with version 2", serving, "c", decided)


def test_the_model_was_published_and_withdrawn_meanwhile(serving: Path) -> None:
    publish_letters(serving, "a")
    decided = decide(serving, "b")
    carry_out(serving, "b", decided)
    withdraw(serving)
    withdrawn = "since the decision this very model was withdrawn by version 3 .*: sevens"
    assert_stale(withdrawn, serving, "b", decided)
    publish_letters(serving, "b")  # past the gate: live again, and yet not found done
    assert_stale(withdrawn, serving, "b", decided)


def test_the_models_files_were_changed_meanwhile(serving: Path) -> None:
    publish_letters(serving, "a")
    decided = decide(serving, "b")
    assert_stale(r"has the digest \w+, expected .* was changed since", serving, "c", decided)


# --- races ---------------------------------------------------------------------------------------


class Workers:
    """Two processes that change a serving directory at once."""

    def __init__(self) -> None:
        self._workers = [python(WORKER), python(WORKER)]
        for worker in self._workers:
            assert worker.stdout.readline() == "ready\n"

    def race(self, *orders: dict[str, Any], turn: int) -> list[str]:
        """The answers, in the orders' order; the one of number `turn` % 2 is told first."""
        pairs = list(zip(self._workers, orders, strict=True))
        for worker, order in pairs if turn % 2 else reversed(pairs):
            worker.stdin.write(json.dumps(order) + "\n")
            worker.stdin.flush()
        return [worker.stdout.readline().strip() for worker in self._workers]

    def end(self) -> None:
        for worker in self._workers:
            worker.communicate(timeout=300)


@pytest.fixture
def workers() -> Iterator[Workers]:
    both = Workers()
    try:
        yield both
    finally:
        both.end()


def publication(serving: Path, letter: str, decided: Decided) -> dict[str, Any]:
    return {
        "serving": str(serving),
        "model": str(letter_model(serving.parent, letter)),
        "digest": decided.model_digest,
        "compared": dataclasses.asdict(decided.compared),
    }


def houses(tmp_path: Path, letters: str) -> Iterator[tuple[int, Path]]:
    """Equal serving directories with one version per letter, each beside models of its own."""
    publish_letters(tmp_path / "template" / "serving", letters)
    for turn in range(ROUNDS):
        shutil.copytree(tmp_path / "template", tmp_path / str(turn))
        yield turn, tmp_path / str(turn) / "serving"


def test_of_two_publishers_that_compared_with_one_version_one_publishes(
    workers: Workers, tmp_path: Path
) -> None:
    for turn, serving in houses(tmp_path, "a"):
        orders = [publication(serving, letter, decide(serving, letter)) for letter in "bc"]
        answers = workers.race(*orders, turn=turn)
        assert sorted(answers) == ["published 2", "stale"]
        assert letters_in(serving) == {1: "a", 2: "bc"[answers.index("published 2")]}


def test_a_publisher_and_a_rollback_at_once_never_release_over_what_was_not_compared(
    workers: Workers, tmp_path: Path
) -> None:
    for turn, serving in houses(tmp_path, "ab"):
        order = publication(serving, "c", decide(serving, "c"))
        answers = workers.race(order, {"serving": str(serving)}, turn=turn)
        if answers[0] == "stale":
            # The rollback withdrew version 2, which "c" was compared with.
            assert (answers[1], letters_in(serving)) == ("withdrew 2", {1: "a", 2: "b", 3: "a"})
        elif answers == ["published 3", "overtaken"]:
            assert letters_in(serving) == {1: "a", 2: "b", 3: "c"}
        else:
            assert answers == ["published 3", "withdrew 3"]
            assert letters_in(serving) == {1: "a", 2: "b", 3: "c", 4: "b"}


def test_a_retry_and_a_rollback_at_once_never_bring_a_withdrawn_model_back(
    workers: Workers, tmp_path: Path
) -> None:
    for turn, serving in houses(tmp_path, "a"):
        decided = decide(serving, "b")
        carry_out(serving, "b", decided)
        order = publication(serving, "b", decided)
        answers = workers.race(order, {"serving": str(serving)}, turn=turn)
        assert answers[1] == "withdrew 2"
        assert answers[0] in ("unchanged", "stale")
        assert letters_in(serving) == {1: "a", 2: "b", 3: "a"}
        assert marks_in(serving) == {2: 3}
