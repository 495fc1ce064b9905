"""One change at a time, and each cleans up after the killed ones before it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from components.serving_dir import (
    REMOVED_PREFIX,
    STAGING_PREFIX,
    ServingDirError,
    locked,
    prune,
    publish,
    reject,
    rollback,
)
from tests.components.serving_dir.samples import (
    hidden_in,
    hold_letter,
    letter_model,
    numbers,
    publish_letters,
)

Change = Callable[..., object]


@pytest.fixture(params=["publish", "rollback", "prune", "hold", "reject"])
def change(request: pytest.FixtureRequest, serving: Path) -> Change:
    """A change of a serving directory that holds the models a and b, and in which d waits."""
    publish_letters(serving, "ab")
    hold_letter(serving, "d", "old")
    return {
        "publish": partial(publish, letter_model(serving.parent, "c"), serving, {}),
        "rollback": partial(rollback, serving),
        "prune": partial(prune, serving, 1),
        "hold": partial(hold_letter, serving, "c", "new"),
        "reject": partial(reject, serving, "old", by="Ann", reason="why"),
    }[request.param]


def test_a_lock_that_another_process_holds_is_one_line(
    change: Change, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.serving_dir.publishing.LOCK_TIMEOUT_S", 0.05)
    message = r"cannot .*: another process has held the lock .* 0.05 s: wait until it ends, and "
    with locked(serving), pytest.raises(ServingDirError, match=message):
        change()
    assert numbers(serving) == [1, 2]
    change()


def test_leftovers_of_killed_changes_are_removed(change: Change, serving: Path) -> None:
    for name in (f"{STAGING_PREFIX}dead", f"{REMOVED_PREFIX}1-dead"):
        (serving / name / "variables").mkdir(parents=True)
    model = letter_model(serving.parent, "a")
    (serving / f"{STAGING_PREFIX}link").symlink_to(model)
    change()
    assert set(hidden_in(serving)) <= {".pending-old", ".pending-new"}
    assert model.is_dir()
