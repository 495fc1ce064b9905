"""Models that wait for a person: held, approved on what was decided, rejected for good."""

import fcntl
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    ServingDirError,
    StaleDecision,
    approve,
    compared_now,
    digest_of,
    hold,
    live,
    pending,
    prune,
    publish,
    reject,
    rollback,
    verify,
    versions,
    withdrawn_digests,
)
from components.serving_dir.baseline import Decided
from components.serving_dir.log import rejected
from components.serving_dir.model_files import SIGNATURE_NAME
from components.serving_dir.publishing import Published
from components.serving_dir.reading import approved
from tests.components.serving_dir.samples import (
    decided_now,
    fail_to_sync_once_there,
    hidden_in,
    hold_letter,
    killed_at_every_call,
    letter_model,
    letters_in,
    numbers,
    publish_letters,
)
from tests.limits import full_disk

WHO = {"by": "Ann", "reason": "looked at the errors"}


def signed(digests: Mapping[str, str]) -> bytes:
    return json.dumps(digests).encode()


def waiting(serving: Path) -> list[str]:
    return [one.run_id for one in pending(serving)]


def hold_and_release(serving: Path) -> None:
    """Holds a model, which is then released without an approval."""
    publish_letters(serving, "a")
    hold_letter(serving, "b")
    publish_letters(serving, "b")


# --- held ----------------------------------------------------------------------------------------


def test_a_held_model_is_no_version_and_its_release_record_waits(
    serving: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish_letters(serving, "a")
    held = hold_letter(serving, "b")
    assert (numbers(serving), hidden_in(serving)) == ([1], [".pending-r1"])
    (read,) = pending(serving)
    assert read == held
    assert read.release == {"run_id": "r1", "letter": "b"}
    assert read.decided.compared.baseline.version == 1
    assert (held.path / "model" / "saved_model.pb").read_text() == "b"
    assert caplog.text == ""


def test_a_first_model_can_be_held(serving: Path) -> None:
    hold_letter(serving, "a")
    assert (numbers(serving), waiting(serving)) == ([], ["r1"])
    assert approve(serving, "r1", **WHO).version == 1


def test_the_same_model_on_the_same_comparison_is_held_once(serving: Path) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "x", "r0")
    first, again = hold_letter(serving, "b"), hold_letter(serving, "b", "r2")
    assert again == first
    publish_letters(serving, "c")
    assert hold_letter(serving, "b", "r3").run_id == "r3"
    # r1 could not be approved any more, nor can r0, which no later run stands for.
    assert waiting(serving) == ["r0", "r3"]


def test_what_an_overtaken_hold_left_after_a_kill_gives_way_to_the_next(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b", "r1")
    publish_letters(serving, "c")
    with monkeypatch.context() as killed:
        killed.setitem(hold.__globals__, "remove", lambda path: None)
        hold_letter(serving, "b", "r3")
    assert waiting(serving) == ["r1", "r3"]
    assert hold_letter(serving, "b", "r4").run_id == "r3"
    assert waiting(serving) == ["r3"]


def test_what_no_manifest_could_hold_is_not_held(serving: Path) -> None:
    publish_letters(serving, "a")
    with pytest.raises(ServingDirError, match=r"the manifest has 5,.* smaller release record"):
        hold_letter(serving, "b", text="x" * (5 << 20))
    model = letter_model(serving.parent, "b")
    given = {"decided": decided_now(model, serving), "documents": {"CARD.md": "x" * (16 << 20)}}
    with pytest.raises(ServingDirError, match=r"have 16,777,.* at most 16,777,216: release this"):
        hold(model, serving, {}, run_id="r1", **given)
    assert hidden_in(serving) == []


def test_a_run_that_signs_does_not_take_over_what_waits_unsigned(serving: Path) -> None:
    hold_letter(serving, "b")
    held = hold_letter(serving, "b", "r2", sign=signed)
    assert (held.run_id, held.signed) == ("r2", True)
    with pytest.raises(ServingDirError, match="the run r2 signs what it releases, and no key"):
        approve(serving, "r2", **WHO)


def test_a_failed_sync_after_the_rename_says_that_the_model_waits(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.mkdir()
    fail_to_sync_once_there(serving / ".pending-r1", monkeypatch)
    with pytest.raises(ServingDirError, match=r"of r1 waits in .*power cut may undo") as said:
        hold_letter(serving, "a")
    assert "nothing was held" not in str(said.value)
    assert waiting(serving) == ["r1"]


def test_on_a_full_disk_nothing_is_held(serving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_letters(serving, "a")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ServingDirError, match=r"cannot hold .*: No space left .*nothing was held"):
        hold_letter(serving, "b")
    assert (waiting(serving), hidden_in(serving)) == ([], [])


def test_a_model_that_is_live_is_not_held(serving: Path) -> None:
    publish_letters(serving, "a")
    held = hold_letter(serving, "a")
    assert (held.version, held.created) == (1, False)
    assert hidden_in(serving) == []


def test_a_decision_that_does_not_hold_any_more_is_not_held(serving: Path) -> None:
    model = letter_model(serving.parent, "b")
    early = decided_now(model, serving)
    publish_letters(serving, "a")
    with pytest.raises(StaleDecision, match="was compared with no version, but since then"):
        hold(model, serving, {}, run_id="r1", decided=early)
    other = Decided("0" * 64, compared_now(serving))
    with pytest.raises(StaleDecision, match="it was changed since"):
        hold(model, serving, {}, run_id="r1", decided=other)
    assert hidden_in(serving) == []


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", ".hidden", "x" * 201])
def test_a_run_whose_name_is_no_name_of_a_directory_is_refused(run_id: str, serving: Path) -> None:
    with pytest.raises(ServingDirError, match=r"the run is named .*, expected letters and digits"):
        hold_letter(serving, "a", run_id)
    assert not serving.exists()


# --- approved ------------------------------------------------------------------------------------


def test_who_approves_releases_what_was_held_and_stands_in_the_manifest(serving: Path) -> None:
    publish_letters(serving, "a")
    held = hold_letter(serving, "b")
    published = approve(serving, "r1", **WHO)
    assert (published.version, published.created) == (2, True)
    newest = live(serving)
    assert verify(newest) == ()
    assert letters_in(serving) == {1: "a", 2: "b"}
    approval = newest.manifest.release["approval"]
    assert approval == {
        "run_id": "r1",
        "held_at": held.held_at,
        "at": approval["at"],
        "by": "Ann",
        "reason": "looked at the errors",
    }
    assert newest.manifest.release["letter"] == "b"
    assert (waiting(serving), hidden_in(serving)) == ([], [])


def replace_version(serving: Path) -> None:
    publish_letters(serving, "c")


def roll_back(serving: Path) -> None:
    rollback(serving)


def damage_live(serving: Path) -> None:
    (live(serving).path / "saved_model.pb").write_text("?")


@pytest.mark.parametrize("change", [replace_version, roll_back, damage_live])
def test_what_is_served_must_be_what_it_was(change: Callable[[Path], None], serving: Path) -> None:
    publish_letters(serving, "xa")
    hold_letter(serving, "b")
    change(serving)
    before = numbers(serving)
    assert not pending(serving)[0].still_holds(serving)
    with pytest.raises(StaleDecision, match="run again, which compares the model with that"):
        approve(serving, "r1", **WHO)
    assert (numbers(serving), waiting(serving)) == (before, ["r1"])


def test_a_changed_model_is_not_released(serving: Path) -> None:
    path = hold_letter(serving, "b").path
    (path / "model" / "saved_model.pb").write_text("c")
    with pytest.raises(StaleDecision, match=r"expected .*, which was decided on: it was changed"):
        approve(serving, "r1", **WHO)
    assert numbers(serving) == []


@pytest.mark.parametrize(
    ("old", "new"), [('"letter": "b"', '"letter": "c"'), ("{", "["), ('"run_id"', '"id"')]
)
def test_a_changed_record_is_not_released(
    old: str, new: str, serving: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = hold_letter(serving, "b").path / "pending.json"
    record.write_text(record.read_text().replace(old, new, 1))
    assert waiting(serving) == []
    assert "pending.json is damaged" in caplog.text
    with pytest.raises(ServingDirError, match=r"pending.json is damaged .*: remove .*pending-r1"):
        approve(serving, "r1", **WHO)
    assert numbers(serving) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", "3"])
def test_what_is_no_record_is_damaged(text: str, serving: Path) -> None:
    record = hold_letter(serving, "b").path / "pending.json"
    record.write_text(text)
    assert waiting(serving) == []
    with pytest.raises(ServingDirError, match=r"pending.json is damaged .*: remove .*pending-r1"):
        approve(serving, "r1", **WHO)
    record.unlink()
    record.mkdir()
    assert waiting(serving) == []
    with pytest.raises(ServingDirError, match=r"cannot read what waits in .*: Is a directory"):
        approve(serving, "r1", **WHO)


def compared_with(baseline: object) -> dict[str, object]:
    return {"model_digest": "0", "compared": {"baseline": baseline, "damage": None}}


@pytest.mark.parametrize(
    "changed",
    [
        {"documents": {"../../outside": "x"}},
        {"documents": {"/tmp/outside": "x"}},
        {"documents": {"..": "x"}},
        {"documents": {"a\0b": "x"}},
        {"documents": {"CARD.md": None}},
        {"documents": ["CARD.md"]},
        {"release": [1]},
        {"release": None},
        {"held_at": None},
        {"signed": "yes"},
        {"decided": {"model_digest": 1, "compared": {"baseline": None, "damage": None}}},
        {"decided": compared_with({})},
        {"decided": compared_with({"version": "1", "model_digest": "0"})},
        {"decided": compared_with({"version": 1, "model_digest": None})},
        {"decided": compared_with({"version": 1, "model_digest": "0", "more": 1})},
        {"decided": {"model_digest": "0", "compared": {"baseline": None, "damage": 1}}},
    ],
    ids=str,
)
def test_a_record_that_was_written_by_hand_is_damaged(
    changed: dict[str, object], serving: Path
) -> None:
    record = hold_letter(serving, "b").path / "pending.json"
    content = {**json.loads(record.read_text()), **changed}
    del content["sha256"]
    hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    record.write_text(json.dumps({**content, "sha256": hashed}))
    assert waiting(serving) == []
    with pytest.raises(ServingDirError, match=r"pending.json is damaged"):
        approve(serving, "r1", **WHO)
    assert not (serving.parent / "outside").exists()


def test_a_record_under_the_name_of_another_run_is_damaged(serving: Path) -> None:
    path = hold_letter(serving, "b").path
    shutil.copytree(path, serving / ".pending-r2")
    assert waiting(serving) == ["r1"]


def test_a_second_approval_says_that_it_was_approved_and_cleans_up(serving: Path) -> None:
    path = hold_letter(serving, "b").path
    shutil.copytree(path, serving.parent / "kept")
    approve(serving, "r1", **WHO)
    shutil.copytree(serving.parent / "kept", path)  # as after a kill before it was removed
    assert waiting(serving) == []
    again = approve(serving, "r1", by="Bob", reason="me too")
    assert (again.version, again.created) == (1, False)
    assert live(serving).manifest.release["approval"]["by"] == "Ann"
    assert hidden_in(serving) == []


def test_a_second_approval_of_what_was_rolled_back_since_is_no_release(serving: Path) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b")
    approve(serving, "r1", **WHO)
    rollback(serving, reason="sevens")
    with pytest.raises(ServingDirError, match="as version 2, which is not live any more: run ag"):
        approve(serving, "r1", **WHO)


def test_who_approves_too_late_is_told_who_came_first(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b")

    def overtaken(*args: object, **settings: object) -> Published:
        monkeypatch.undo()
        approve(serving, "r1", by="Bob", reason="first")
        return publish(*args, **settings)

    module = importlib.import_module("components.serving_dir.pending")  # not the function
    monkeypatch.setattr(module, "publish", overtaken)
    with pytest.raises(ServingDirError, match="r1 was approved already, as version 2; waiting: no"):
        approve(serving, "r1", **WHO)
    assert live(serving).manifest.release["approval"]["by"] == "Bob"


def test_a_run_that_does_not_wait_is_named_with_those_that_do(serving: Path) -> None:
    serving.mkdir()
    with pytest.raises(ServingDirError, match=r"no run 'r9' waits in .*; waiting: none"):
        reject(serving, "r9", **WHO)
    assert list(serving.iterdir()) == []
    publish_letters(serving, "a")
    hold_letter(serving, "b")
    with pytest.raises(ServingDirError, match=r"no run 'r9' waits in .*; waiting: r1"):
        approve(serving, "r9", **WHO)
    for run_id in ("../1", "r" * 300):
        with pytest.raises(ServingDirError, match=r"no run '(\.\./1|r+.*)' waits"):
            reject(serving, run_id, **WHO)


# --- rejected ------------------------------------------------------------------------------------


def test_a_rejected_model_is_gone_and_is_not_released_by_any_run(serving: Path) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b", "1")  # a run may be named like a version, which stays
    rejection = reject(serving, "1", by="Ann", reason="confuses 4 and 9")
    assert (numbers(serving), hidden_in(serving)) == ([1], [])
    model = letter_model(serving.parent, "b")
    assert withdrawn_digests(serving) == {digest_of(model): rejection}
    said = r"this very model was rejected by Ann at .*: confuses 4 and 9; train another one"
    with pytest.raises(StaleDecision, match=said):
        publish(model, serving, {}, decided=decided_now(model, serving))
    with pytest.raises(StaleDecision, match="rejected by Ann"):
        hold_letter(serving, "b", "r2")
    with pytest.raises(ServingDirError, match=r"the run 1 was rejected by Ann .*; waiting: no"):
        approve(serving, "1", **WHO)


def test_a_model_that_another_run_released_meanwhile_is_approved_and_cannot_be_rejected(
    serving: Path,
) -> None:
    hold_and_release(serving)
    with pytest.raises(ServingDirError, match="version 2, which is live, holds the model of r1: "):
        reject(serving, "r1", **WHO)
    for who in (WHO, {"by": "Bob", "reason": "again"}):
        done = approve(serving, "r1", **who)
        assert (done.version, done.created) == (2, False)
        assert (hidden_in(serving), approved(serving)["r1"].by) == ([], "Ann")
    assert numbers(serving) == [1, 2]
    publish_letters(serving, "c")
    for _ in range(2):
        with pytest.raises(ServingDirError, match="already, as version 2, which is not live any"):
            approve(serving, "r1", **WHO)
        for number in numbers(serving):  # `rm -r SERVING/*` leaves the log
            shutil.rmtree(serving / str(number))


def test_what_was_released_unsigned_meanwhile_is_held_again_to_be_signed(serving: Path) -> None:
    publish_letters(serving, "a")
    hold_letter(serving, "b", sign=signed)
    publish_letters(serving, "b")
    with pytest.raises(StaleDecision, match="run again"):
        approve(serving, "r1", **WHO, sign=lambda files: b"signature")
    hold_letter(serving, "b", "r2", sign=signed)
    assert waiting(serving) == ["r2"]
    done = approve(serving, "r2", **WHO, sign=lambda files: b"signature")
    assert (done.version, done.created) == (3, True)
    assert (done.path / SIGNATURE_NAME).read_bytes() == b"signature"


def test_a_second_rejection_says_who_rejected_first_and_cleans_up(serving: Path) -> None:
    path = hold_letter(serving, "b").path
    shutil.copytree(path, serving.parent / "kept")
    first = reject(serving, "r1", **WHO)
    shutil.copytree(serving.parent / "kept", path)  # as after a kill before it was removed
    assert reject(serving, "r1", by="Bob", reason="me too") == first
    assert hidden_in(serving) == []
    assert rejected(serving) == {first.run_id: first}


def test_an_approval_is_not_kept_of_what_was_rejected_meanwhile(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_and_release(serving)

    def raced(*given: object, **settings: object) -> Published:
        found = publish(*given, **settings)
        rollback(serving)
        reject(serving, "r1", by="Bob", reason="confuses 4 and 9")
        return found

    monkeypatch.setitem(approve.__globals__, "publish", raced)
    with pytest.raises(ServingDirError, match="the run r1 was rejected by Bob"):
        approve(serving, "r1", **WHO)
    assert approved(serving) == {}


def test_of_two_approvals_of_a_released_model_the_first_is_kept(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_and_release(serving)

    def raced(*given: object, **settings: object) -> Published:
        monkeypatch.undo()
        done = publish(*given, **settings)
        approve(serving, "r1", by="Bob", reason="first")
        return done

    monkeypatch.setitem(approve.__globals__, "publish", raced)
    done = approve(serving, "r1", **WHO)
    assert (done.version, done.created, approved(serving)["r1"].by) == (2, False, "Bob")


def test_an_approval_that_the_log_does_not_take_can_be_given_again(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_and_release(serving)
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        is_log = os.readlink(f"/proc/self/fd/{descriptor}").endswith(LOG_NAME)
        (full_disk if is_log else fsync)(descriptor)

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        with pytest.raises(ServingDirError, match=r"cannot approve r1 .*: No space .*approve it a"):
            approve(serving, "r1", **WHO)
    assert (approved(serving), waiting(serving)) == ({}, ["r1"])
    assert approve(serving, "r1", **WHO).version == 2
    assert approved(serving)["r1"].by == "Ann"


def test_what_is_approved_is_released_also_where_nothing_can_be_cleaned_up(
    serving: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hold_letter(serving, "b")

    def then_locked(*given: object, **settings: object) -> Published:
        done = publish(*given, **settings)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return done

    monkeypatch.setitem(approve.__globals__, "publish", then_locked)
    monkeypatch.setattr("components.serving_dir.changing.LOCK_TIMEOUT_S", 0.1)
    with (serving / LOCK_NAME).open() as lock:
        assert approve(serving, "r1", **WHO).version == 1
    assert f"what is decided in {serving} stays: another process" in caplog.text
    assert (waiting(serving), hidden_in(serving)) == ([], [".pending-r1"])


def test_a_model_that_waits_under_two_runs_is_rejected_under_both(serving: Path) -> None:
    hold_letter(serving, "b")
    other = hold_letter(serving, "b", "r2", sign=signed)
    assert other.still_holds(serving)
    reject(serving, "r1", **WHO)
    assert not other.still_holds(serving)


def test_a_rejection_holds_where_an_editor_left_no_final_newline(serving: Path) -> None:
    hold_letter(serving, "b")
    model = letter_model(serving.parent, "b")
    early = decided_now(model, serving)
    reject(serving, "r1", **WHO)
    log = serving / LOG_NAME
    log.write_bytes(log.read_bytes().removesuffix(b"\n"))
    with pytest.raises(StaleDecision, match="rejected by Ann"):
        publish(model, serving, {}, decided=early)


def test_an_older_version_of_the_rejected_model_stays_good(serving: Path) -> None:
    publish_letters(serving, "ab")
    hold_letter(serving, "a")
    reject(serving, "r1", **WHO)
    assert [version.withdrawn for version in versions(serving)] == [None, None]
    assert rollback(serving).restores == 1


def test_what_was_approved_cannot_be_rejected(serving: Path) -> None:
    hold_letter(serving, "b")
    approve(serving, "r1", **WHO)
    with pytest.raises(ServingDirError, match="the run r1 was approved already, as version 1"):
        reject(serving, "r1", **WHO)
    assert withdrawn_digests(serving) == {}


# --- killed --------------------------------------------------------------------------------------

DECIDE = """
from components.serving_dir import Decided, compared_now, digest_of
decided = Decided(digest_of(model), compared_now(serving))
"""
BY_HER = "serving, 'old', by='Ann', reason='why'"
CHANGES = {
    "hold": "serving_dir.hold(model, serving, {}, run_id='new', decided=decided)",
    "approve": f"serving_dir.approve({BY_HER})",
    "reject": f"serving_dir.reject({BY_HER})",
}


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("change", CHANGES)
def test_sigkill_at_every_file_system_call_loses_nothing_and_publishes_nothing_by_half(
    change: str, tmp_path: Path
) -> None:
    template = tmp_path / "template" / "serving"
    publish_letters(template, "a")
    hold_letter(template, "b", "old")
    new = letter_model(tmp_path, "c")
    changed = killed_at_every_call(template, new, CHANGES[change], DECIDE)
    for serving in changed:
        present = versions(serving, check_files=True)
        assert [version.problems for version in present] == [()] * len(present)
        approved = letters_in(serving) == {1: "a", 2: "b"}
        rejected = bool(withdrawn_digests(serving))
        # The old model waits until it is decided, and is decided once.
        assert [approved, rejected, "old" in waiting(serving)].count(True) == 1
        assert change == "approve" or not approved
        assert change == "reject" or not rejected
        if change == "hold":
            assert set(waiting(serving)) in ({"old"}, {"old", "new"})
        elif change == "approve":
            assert approve(serving, "old", **WHO).version == 2
        elif not rejected:
            reject(serving, "old", **WHO)
        publish(letter_model(tmp_path, "d"), serving, {})
        assert hidden_in(serving) == sorted(f".pending-{run_id}" for run_id in waiting(serving))
    assert len(changed) > 10


def publish_another(serving: Path) -> None:
    publish_letters(serving, "c")


def prune_nothing(serving: Path) -> None:
    prune(serving, 9)


def hold_another(serving: Path) -> None:
    hold_letter(serving, "d", "r2")


@pytest.mark.parametrize("decide", [approve, reject])
@pytest.mark.parametrize("change", [publish_another, roll_back, prune_nothing, hold_another])
def test_what_a_killed_decision_left_is_removed_by_the_next_change(
    decide: Callable[..., object],
    change: Callable[[Path], None],
    serving: Path,
    tmp_path: Path,
) -> None:
    publish_letters(serving, "xa")
    held = hold_letter(serving, "b").path
    shutil.copytree(held, tmp_path / "held")
    decide(serving, "r1", **WHO)
    (tmp_path / "held").rename(held)  # as if it had been killed before
    change(serving)
    assert hidden_in(serving) == ([".pending-r2"] if change is hold_another else [])


def test_what_waits_stays_where_the_log_cannot_be_read(serving: Path) -> None:
    publish_letters(serving, "xa")
    hold_letter(serving, "b")
    (serving / LOG_NAME).write_text("no JSON\n")
    assert rollback(serving, 1).restores == 1
    assert hidden_in(serving) == [".pending-r1"]


def test_where_nothing_waits_a_damaged_log_stops_no_listing(serving: Path) -> None:
    publish_letters(serving, "a")
    (serving / LOG_NAME).write_text("no JSON\n")
    assert pending(serving) == []


def test_the_record_says_what_was_decided(serving: Path) -> None:
    held = hold_letter(serving, "b")
    assert json.loads((held.path / "pending.json").read_text())["decided"] == {
        "model_digest": digest_of(letter_model(serving.parent, "b")),
        "compared": {"baseline": None, "damage": None},
    }
