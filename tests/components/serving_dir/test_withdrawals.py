"""A withdrawn model stays withdrawn, also when its versions are pruned."""

import json
import os
import shutil
from pathlib import Path

import pytest

from components.serving_dir import (
    LOG_NAME,
    ServingDirError,
    digest_of,
    prune,
    rollback,
    versions,
    withdrawn_digests,
)
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from tests.components.serving_dir.samples import (
    letter_model,
    letters_in,
    marks_in,
    numbers,
    publish_letters,
)


def withdrawn_letters(serving: Path) -> set[str]:
    digests = {digest_of(letter_model(serving.parent, letter)): letter for letter in "abcdef"}
    return {digests[digest] for digest in withdrawn_digests(serving)}


def forgotten_versions(serving: Path) -> None:
    """The model b was withdrawn; no version tells of it any more."""
    publish_letters(serving, "ab")
    rollback(serving, reason="sevens")  # 3 = a
    publish_letters(serving, "cd")
    prune(serving, 1)
    assert letters_in(serving) == {4: "c", 5: "d"}


def log_lines(serving: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (serving / LOG_NAME).read_text().splitlines()]


def test_a_withdrawn_model_stays_withdrawn_when_its_versions_are_pruned(serving: Path) -> None:
    forgotten_versions(serving)
    (withdrawal,) = withdrawn_digests(serving).values()
    assert (withdrawal.version, withdrawal.by, withdrawal.reason) == (2, 3, "sevens")


def test_published_past_the_gate_it_is_marked_by_the_log_alone(serving: Path) -> None:
    forgotten_versions(serving)
    publish_letters(serving, "b")
    assert marks_in(serving) == {6: 3}
    publish_letters(serving, "e")
    with pytest.raises(ServingDirError, match=r"it is withdrawn by version 3 .*: sevens"):
        rollback(serving, 6)


def test_of_several_withdrawals_of_a_model_the_last_one_is_its_mark(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving)  # 3 = a
    publish_letters(serving, "b")
    rollback(serving)  # 5 = a
    assert marks_in(serving) == {2: 5, 4: 5}


def test_it_stays_withdrawn_when_other_hands_remove_its_versions(serving: Path) -> None:
    publish_letters(serving, "ab")
    rollback(serving)
    publish_letters(serving, "c")
    for number in (2, 3):
        shutil.rmtree(serving / str(number))
    assert withdrawn_letters(serving) == {"b"}


def test_a_number_that_is_used_again_is_not_withdrawn_by_the_log(serving: Path) -> None:
    forgotten_versions(serving)
    for number in numbers(serving):
        shutil.rmtree(serving / str(number))
    publish_letters(serving, "ef")
    assert numbers(serving) == [1, 2]
    assert marks_in(serving) == {}


def test_a_repair_withdraws_no_model(serving: Path) -> None:
    publish_letters(serving, "aba")
    (serving / "3" / "saved_model.pb").write_bytes(b"?")
    rollback(serving, 1)  # 4 = a
    assert withdrawn_letters(serving) == set()
    assert not (serving / LOG_NAME).exists()


def test_each_withdrawal_is_written_once(serving: Path) -> None:
    publish_letters(serving, "abc")
    rollback(serving)
    rollback(serving)
    assert [line["withdrawal"]["version"] for line in log_lines(serving)] == [3, 4]
    publish_letters(serving, "de")
    prune(serving, 1)
    assert [line["withdrawal"]["version"] for line in log_lines(serving)] == [3, 4]


def test_a_log_that_a_rollback_could_not_write_is_made_good_by_prune(
    serving: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish_letters(serving, "ab")
    (serving / LOG_NAME).mkdir()
    assert rollback(serving, 1).withdraws == 2
    assert "does not know the withdrawn model yet: " in caplog.text
    publish_letters(serving, "cd")
    with pytest.raises(ServingDirError, match=r"cannot read what was decided .*Is a directory"):
        prune(serving, 1)
    assert numbers(serving) == [1, 2, 3, 4, 5]  # nothing goes before the log is written
    (serving / LOG_NAME).rmdir()
    prune(serving, 1)
    assert withdrawn_letters(serving) == {"b"}


def test_the_log_has_decisions_too_and_either_kind_is_read_past_the_other(serving: Path) -> None:
    decision = Decision("test", "m1", None, "p1")
    assert register(serving, decision, run_id="run").number == 1
    forgotten_versions(serving)
    assert register(serving, Decision("test", "m2", None, "p1"), run_id="run").number == 2
    assert register(serving, decision, run_id="run").number == 1
    assert withdrawn_letters(serving) == {"b"}


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[" * 100_000,
        '["withdrawal"]',
        '{"withdrawal": null}',
        '{"withdrawal": {"version": 2, "model_digest": null, "by": 3, "reason": "", "at": ""}}',
    ],
)
def test_a_damaged_line_releases_nothing_and_stops_no_listing_or_rollback_to_a_version(
    line: str, serving: Path
) -> None:
    forgotten_versions(serving)
    with (serving / LOG_NAME).open("a") as log:
        log.write(line + "\n")
    with pytest.raises(ServingDirError, match=r"line 2 of .*\.decisions\.jsonl is damaged .*rest"):
        withdrawn_digests(serving)
    assert [version.number for version in versions(serving)] == [4, 5]
    assert rollback(serving, 4).restores == 4


def test_a_rollback_chooses_no_version_by_a_log_that_cannot_be_read(serving: Path) -> None:
    forgotten_versions(serving)
    publish_letters(serving, "be")  # 6 = b, which is withdrawn by the log alone; 7 = e
    log = serving / LOG_NAME
    log.write_text(log.read_text().replace("withdrawal", "withdr", 1)[:-2] + "\n")
    with pytest.raises(ServingDirError, match=r"line 1 of .* is damaged .*; or name the version"):
        rollback(serving)
    assert numbers(serving) == [4, 5, 6, 7]
    assert rollback(serving, 5).restores == 5


def test_what_a_reader_finds_while_versions_go_is_withdrawn_at_every_moment(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "abc")
    rollback(serving)
    rollback(serving)
    publish_letters(serving, "de")
    (serving / LOG_NAME).unlink()
    seen = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        seen.append(withdrawn_letters(serving))

    monkeypatch.setattr(os, "rename", watched)
    prune(serving, 1)
    assert seen == [{"b", "c"}] * 5
