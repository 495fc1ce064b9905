"""Reading: which entries are versions, which are valid, and copying one out."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from components.serving_dir import (
    MANIFEST_NAME,
    ServingDirError,
    check_manifest,
    digest_of,
    export_model,
    find,
    live,
    manifest,
    newest_valid,
    publish,
    reading,
    rollback,
    verify,
    version,
    versions,
)
from tests.components.serving_dir.samples import (
    damage,
    marks_in,
    numbers,
    publish_letters,
    staging_in,
)
from tests.limits import full_disk
from trainer.host.files import read_regular
from trainer.host.strict_json import loads

# --- which entries count, and which are valid ----------------------------------------------------


@pytest.mark.parametrize("name", ["7", "007", "+7", " 7"])
def test_every_name_that_tf_serving_reads_as_a_number_counts(
    name: str, model: Path, serving: Path
) -> None:
    (serving / name).mkdir(parents=True)
    assert publish(model, serving, {}).version == 8
    assert newest_valid(serving).number == 8


@pytest.mark.parametrize(
    "name",
    ["-7", "٧", "1_0", "7a", "0x7", "", "7.0", "9223372036854775808", "9" * 255],  # noqa: RUF001
)
def test_other_names_do_not_count(name: str, model: Path, serving: Path) -> None:
    (serving / name).mkdir(parents=True, exist_ok=True)
    assert publish(model, serving, {}).version == 1


def test_the_live_version_is_found_without_reading_the_others(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "abc")
    read: list[int] = []

    def spy(path: Path, number: int) -> version.Version:
        read.append(number)
        return version.read_version(path, number)

    monkeypatch.setattr(reading, "read_version", spy)
    assert live(serving).number == find(serving).number == 3
    assert read == [3, 3]


def test_no_number_is_left_above_int64(model: Path, serving: Path) -> None:
    (serving / "9223372036854775807").mkdir(parents=True)
    with pytest.raises(ServingDirError, match=r"highest number.*move it away"):
        publish(model, serving, {})
    assert staging_in(serving) == []


def test_invalid_entries_are_reported_and_never_valid(
    model: Path, serving: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(model, serving, {})
    (serving / "2").mkdir()
    (serving / "3").write_bytes(b"a file")
    shutil.copytree(serving / "1", serving / "4")
    (serving / "5").symlink_to(serving / "1")
    shutil.copytree(serving / "1", serving / "06")
    shutil.copytree(serving / "1", serving / "7")
    (serving / "7" / MANIFEST_NAME).write_text('{"format": 2}')

    problems = {version.number: " ".join(version.problems) for version in versions(serving)}

    assert problems[1] == ""
    assert "no manifest.json" in problems[2]
    assert "not a directory" in problems[3]
    assert "that of version 1" in problems[4]
    assert "symbolic link" in problems[5]
    assert "named '06', expected '6'" in problems[6]
    assert "not a manifest of format 1" in problems[7]
    assert newest_valid(serving).number == 1
    assert caplog.text.count("is not a valid version") == 6
    assert publish(model, serving, {}).version == 8


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000, '{"format": 1, "version": {}}', "\xff"],
)
def test_damaged_manifest_is_a_problem_not_a_crash(text: str, model: Path, serving: Path) -> None:
    (publish(model, serving, {}).path / MANIFEST_NAME).write_text(text, encoding="latin-1")
    [version] = versions(serving)
    assert "damaged" in version.problems[0]
    assert newest_valid(serving) is None


def test_a_manifest_that_is_no_file_is_a_problem_not_a_crash(model: Path, serving: Path) -> None:
    manifest = publish(model, serving, {}).path / MANIFEST_NAME
    manifest.unlink()
    manifest.mkdir()
    [version] = versions(serving)
    assert version.problems[0].startswith("cannot be read: ")
    assert newest_valid(serving) is None


@pytest.mark.parametrize(
    ("time", "is_one"),
    [
        ("2026-11-23T10:00:00Z", True),
        ("2026-11-23T10:00:00.5Z", True),
        ("2026-11-23T10:00:00.123456789+01:00", True),
        ("2026-11-23 10:00:00-00:30", True),
        ("2026-11-23T10:00:00", True),
        ("2026-11-23", False),
        ("20261123T100000Z", False),  # from Python 3.11 on `datetime.fromisoformat` takes these
        ("2026-W48-1", False),
        ("2026-11-23T10", False),
        ("2026-02-29T10:00:00Z", False),
        ("2026-11-23T24:00:00Z", False),
        ("2026-11-23T10:00:00+24:00", False),
        ("2026-11-23T10:00:00Z\n", False),
    ],
)
def test_the_same_times_are_valid_on_every_version_of_python(
    time: str, is_one: bool, model: Path, serving: Path
) -> None:
    publish(model, serving, {})
    file = serving / "1" / MANIFEST_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), "published_at": time}))
    (version,) = versions(serving)
    assert bool(version.manifest) == is_one
    assert is_one or "expected a time" in version.problems[0]


def test_manifest_with_a_changed_hash_is_damaged(model: Path, serving: Path) -> None:
    path = publish(model, serving, {}).path / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["files"]["saved_model.pb"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    assert "model_digest is not that of its files" in versions(serving)[0].problems[0]


def test_verify_names_each_damaged_file(model: Path, serving: Path) -> None:
    path = publish(model, serving, {}).path
    (path / "saved_model.pb").write_bytes(b"GRAPH")
    (path / "variables/variables.index").unlink()
    with (path / "variables/variables.data-00000-of-00001").open("ab") as file:
        file.write(b"!")
    (path / "extra").write_bytes(b"")
    (path / "link").symlink_to("saved_model.pb")

    [version] = versions(serving)
    problems = verify(version)

    assert version.problems == ()
    assert len(problems) == 5
    assert "'link' is a symbolic link or special file" in problems[0]
    assert "'extra' is not in manifest.json" in problems[1]
    assert "'saved_model.pb' has SHA-256" in problems[2]
    assert "has 7001 bytes, expected 7000" in problems[3]
    assert "'variables/variables.index' is missing" in problems[4]
    assert versions(serving, check_files=True)[0].problems == problems
    assert verify(version, trusted) == problems


def trusted(signature: Path, files: Mapping[str, str]) -> str:
    """Takes any signature for a good one."""
    return ""


def alter(file: Path) -> None:
    file.write_text(file.read_text().replace('"release": {}', '"release": {"seed": 1}'))


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGED = "manifest.json has changed since it was read"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (alter, CHANGED),
        (Path.unlink, CHANGED),
        (lambda file: file.write_text("{}"), "manifest.json is damaged: "),
        (make_directory, "cannot be read: Is a directory"),
    ],
)
def test_a_signature_is_not_looked_for_on_another_manifest_than_the_one_that_was_read(
    act: Callable[[Path], object], said: str, model: Path, serving: Path
) -> None:
    publish(model, serving, {})
    [version] = versions(serving)
    assert verify(version, trusted) == ()
    act(version.path / MANIFEST_NAME)
    (problem,) = verify(version, trusted)
    assert problem.startswith(said)


def test_no_serving_directory_means_no_versions(serving: Path) -> None:
    assert versions(serving) == []
    assert newest_valid(serving) is None
    assert not serving.exists()


# --- copying a version out -----------------------------------------------------------------------


def test_export_gives_back_the_model_without_the_manifest(
    model: Path, serving: Path, tmp_path: Path
) -> None:
    publish(model, serving, {})
    export_model(newest_valid(serving), tmp_path / "out")
    assert digest_of(tmp_path / "out") == digest_of(model)


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda path: (path / "saved_model.pb").write_bytes(b"GRAPH"), "'saved_model.pb' has SHA-"),
        (lambda path: (path / "extra").touch(), "file 'extra' is not in manifest.json"),
        (lambda path: path.rename(path.with_name("2")), "manifest.json is that of version 1"),
    ],
)
def test_export_refuses_a_damaged_version_and_leaves_nothing(
    act: object, problem: str, model: Path, serving: Path, tmp_path: Path
) -> None:
    act(publish(model, serving, {}).path)
    [version] = versions(serving)
    with pytest.raises(ServingDirError, match=problem):
        export_model(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_to_a_full_disk_leaves_nothing(
    model: Path, serving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model, serving, {})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ServingDirError, match=r"cannot copy .*: No space left"):
        export_model(live(serving), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_never_overwrites(model: Path, serving: Path, tmp_path: Path) -> None:
    publish(model, serving, {})
    (tmp_path / "out").mkdir()
    with pytest.raises(ServingDirError, match="exists already"):
        export_model(newest_valid(serving), tmp_path / "out")
    assert (tmp_path / "out").is_dir()


# --- what is live, and what is withdrawn ---------------------------------------------------------


def test_the_highest_entry_is_live_valid_or_not(serving: Path) -> None:
    assert live(serving) is None
    publish_letters(serving, "ab")
    assert live(serving).number == 2
    for name in ("007", "7 ", "7"):
        (serving / name).mkdir()
    assert (live(serving).path.name, newest_valid(serving).number) == ("7", 2)
    assert find(serving, 7).path.name == "7"


def test_the_version_that_a_rollback_left_is_never_the_newest_valid_one(serving: Path) -> None:
    publish_letters(serving, "abc")
    rollback(serving, 2)
    damage(serving, 4)
    assert newest_valid(serving).number == 2
    damage(serving, 2)
    assert newest_valid(serving).number == 1  # not 3, which is intact, but withdrawn


def test_a_version_is_found_by_its_number_and_the_live_one_without(serving: Path) -> None:
    publish_letters(serving, "ab")
    assert (find(serving, 1).number, find(serving).number) == (1, 2)
    with pytest.raises(ServingDirError, match=r"there is no version 3 in .*: known are 1, 2"):
        find(serving, 3)
    with pytest.raises(ServingDirError, match=r"there is no version in .*: release a model"):
        find(serving.parent / "none")


def test_a_version_that_is_pruned_while_it_is_read_was_never_there(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "ab")
    listdir = os.listdir

    def list_then_prune(path: Path) -> list[str]:
        names = listdir(path)
        (serving / "1").rename(serving / ".removed-1")
        return names

    monkeypatch.setattr(os, "listdir", list_then_prune)
    assert numbers(serving) == [2]


def test_a_version_that_is_pruned_while_it_is_verified_was_never_there(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "ab")
    scandir = os.scandir

    def prune_then_scan(path: Path) -> object:
        if path == serving / "1":
            path.rename(serving / ".removed-1")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", prune_then_scan)
    assert [v.number for v in versions(serving, check_files=True)] == [2]


def test_a_withdrawn_version_is_never_read_without_its_mark(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "ab")
    rollback(serving)

    def read_then_prune(path: Path, *, max_bytes: int) -> bytes:
        content = read_regular(path, max_bytes=max_bytes)
        if path.parent == serving / "2":
            for number in ("2", "3"):
                (serving / number).rename(serving / f".removed-{number}")
        return content

    monkeypatch.setattr(version, "read_regular", read_then_prune)
    assert marks_in(serving) == {2: 3}
    assert not (serving / "2").exists()


# --- a model's manifest, wherever it lies --------------------------------------------------------


def test_a_copy_of_a_version_matches_its_manifest_until_it_loses_a_file(
    model: Path, serving: Path, tmp_path: Path
) -> None:
    shutil.copytree(publish(model, serving, {}).path, tmp_path / "copy")
    manifest, problems = check_manifest(tmp_path / "copy")
    assert manifest.model_digest == digest_of(model)
    assert problems == ()
    (tmp_path / "copy" / "saved_model.pb").unlink()
    assert check_manifest(tmp_path / "copy")[1] == ("file 'saved_model.pb' is missing",)


def test_a_damaged_manifest_is_a_problem_and_none_at_all_is_not(model: Path) -> None:
    assert check_manifest(model) == (None, ())
    (model / MANIFEST_NAME).write_text("{}")
    manifest, problems = check_manifest(model)
    assert manifest is None
    assert problems == ("manifest.json is damaged: not a manifest of format 1",)


def test_a_manifest_is_parsed_once_until_it_changes(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_letters(serving, "ab")
    parsed = []
    monkeypatch.setattr(manifest, "loads", lambda text: parsed.append(text) or loads(text))
    first = versions(serving)
    parsed.clear()
    assert (versions(serving), newest_valid(serving)) == (first, first[-1])
    assert parsed == []
    file = serving / "2" / MANIFEST_NAME
    file.write_text(file.read_text().replace('"version": 2', '"version": 3'))  # of the same size
    assert versions(serving)[-1].problems == ("manifest.json is that of version 3",)
    assert len(parsed) == 1
