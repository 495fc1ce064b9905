"""Publishing: what a version holds, what is refused, and what is left of what failed."""

import hashlib
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    MANIFEST_NAME,
    ServingDirError,
    approve,
    digest_of,
    hold,
    newest_valid,
    publish,
    rollback,
    verify,
    versions,
)
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from tests.components.serving_dir.samples import (
    NOON,
    SMALL_MODEL,
    decided_now,
    fail_to_sync_once_there,
    numbers,
    staging_in,
    write_model,
)
from tests.limits import ROOT, full_disk, on_a_small_disk

# FIPS 180-2, appendix B.1
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- what is published ---------------------------------------------------------------------------


def test_first_version_is_1_and_holds_the_model(model: Path, serving: Path) -> None:
    published = publish(model, serving, {})

    assert (published.version, published.path, published.created) == (1, serving / "1", True)
    for name, content in SMALL_MODEL.items():
        assert (serving / "1" / name).read_bytes() == content
    assert sorted(path.name for path in serving.iterdir()) == [LOCK_NAME, "1"]


@pytest.mark.usefixtures("at_noon")
def test_manifest_records_files_digest_time_and_release(tmp_path: Path, serving: Path) -> None:
    model = write_model(tmp_path / "model", {"saved_model.pb": b"abc"})
    publish(model, serving, {"run_id": "r"})

    assert json.loads((serving / "1" / MANIFEST_NAME).read_text()) == {
        "format": 1,
        "version": 1,
        "published_at": NOON,
        "model_digest": digest_of(model),
        "files": {"saved_model.pb": {"sha256": SHA256_OF_ABC, "bytes": 3}},
        "release": {"run_id": "r"},
    }


def test_next_version_is_highest_plus_one_whatever_the_clock_says(
    model: Path, other_model: Path, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_in(year: int, which: Path) -> int:
        time = f"{year}-01-01T00:00:00+00:00"
        monkeypatch.setattr("components.serving_dir.publishing.utc_now", lambda: time)
        return publish(which, serving, {}).version

    assert publish_in(2100, model) == 1
    assert publish_in(1971, other_model) == 2
    shutil.rmtree(serving / "1")
    assert publish_in(1971, model) == 3
    years = [version.manifest.published_at[:4] for version in versions(serving)]
    assert years == ["1971", "1971"]


def test_same_model_is_not_published_twice(model: Path, serving: Path) -> None:
    first = publish(model, serving, {"run": 1})
    for path in model.rglob("*"):
        os.utime(path, (0, 0))
    second = publish(model, serving, {"run": 2})

    assert (second.version, second.path, second.created) == (1, first.path, False)
    assert second.model_digest == first.model_digest
    assert numbers(serving) == [1]
    assert staging_in(serving) == []


def test_older_model_is_published_again(model: Path, other_model: Path, serving: Path) -> None:
    assert [publish(m, serving, {}).version for m in (model, other_model, model)] == [1, 2, 3]


def test_same_model_is_published_again_where_the_newest_version_is_damaged(
    model: Path, serving: Path
) -> None:
    publish(model, serving, {})
    (serving / "1" / "saved_model.pb").write_bytes(b"GRAPH")

    assert publish(model, serving, {}).version == 2
    assert newest_valid(serving).number == 2


def test_odd_file_names_and_empty_directories_are_kept(tmp_path: Path, serving: Path) -> None:
    names = ["a b", "new\nline", "ünï.txt", "quote\"'", "back\\slash", "-rf", ".hidden", "1"]
    names.append(os.fsdecode(b"not-utf-8-\xff"))
    model = write_model(
        tmp_path / "model",
        {f"assets/{name}": name.encode("utf-8", "surrogateescape") for name in names},
    )
    (model / "empty").mkdir()

    published = publish(model, serving, {})

    assert sorted(os.listdir(published.path / "assets")) == sorted(names)
    assert (published.path / "empty").is_dir()
    assert verify(newest_valid(serving)) == ()


def test_published_files_are_readable_by_whom_the_umask_allows(model: Path, serving: Path) -> None:
    (model / "saved_model.pb").chmod(0o600)
    before = os.umask(0o022)
    try:
        path = publish(model, serving, {}).path
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o755
    assert (path / "saved_model.pb").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("way", ["publish", "hold and approve", "roll back"])
@pytest.mark.parametrize(
    ("serving_dir", "umask", "directory", "file"),
    [
        (0o2775, 0o077, 0o2755, 0o644),  # nobody else may write what they may read
        (0o750, 0o077, 0o750, 0o640),
        (0o755, 0o027, 0o755, 0o644),
        (0o755, 0o002, 0o775, 0o664),
        (0o711, 0o077, 0o711, 0o600),
        (0o700, 0o022, 0o755, 0o644),
    ],
)
def test_whoever_may_read_the_serving_directory_may_read_what_is_released(
    serving_dir: int, umask: int, directory: int, file: int, way: str, model: Path, serving: Path
) -> None:
    # A server of another user would go on with the version before, and the run say "released".
    serving.mkdir()
    serving.chmod(serving_dir)
    signed = {"sign": lambda digests: b"{}"}
    given: dict[str, Any] = {"documents": {"MODEL_CARD.md": "x"}, **signed}
    before = os.umask(umask)
    try:
        if way == "hold and approve":
            hold(model, serving, {}, run_id="r1", decided=decided_now(model, serving), **given)
            path = approve(serving, "r1", by="Ann", reason="fine", **signed).path
        else:
            path = publish(model, serving, {}, **given).path
        if way == "roll back":
            (path / "saved_model.pb").chmod(0o600)
            other = write_model(model.with_name("b"), {"saved_model.pb": b"b"})
            publish(other, serving, {}, **given)
            path = rollback(serving, reason="b is worse", **signed).path
    finally:
        os.umask(before)
    modes = {one: stat.S_IMODE(one.stat().st_mode) for one in (path, *path.rglob("*"))}
    assert modes == {one: directory if one.is_dir() else file for one in modes}
    assert {MANIFEST_NAME, "model.sig", "MODEL_CARD.md"} <= {one.name for one in modes}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has groups to choose from for certain")
@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_the_group_that_may_read_the_serving_directory_may_read_what_is_released(
    umask: int, model: Path, serving: Path
) -> None:
    # Without `chmod g+s` all would be the group's of the user who released it.
    serving.mkdir()
    os.chown(serving, -1, 65534)
    serving.chmod(0o750)
    before = os.umask(umask)
    try:
        register(serving, Decision("test", "model", None, "policy"), run_id="run")
        path = publish(model, serving, {"preset": "quick"}).path
    finally:
        os.umask(before)
    for one in (path, *path.rglob("*"), serving / LOG_NAME):
        status = one.stat()
        theirs = status.st_mode >> 3 if status.st_gid == 65534 else status.st_mode
        assert theirs & 0o7 == (0o5 if one.is_dir() else 0o4)  # to read, and not to write


def test_a_held_model_too_may_be_read_by_whoever_may_read_the_directory(
    model: Path, serving: Path
) -> None:
    serving.mkdir()
    before = os.umask(0o077)
    try:
        held = hold(model, serving, {}, run_id="r1", decided=decided_now(model, serving)).path
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (held, *held.rglob("*"))}
    assert modes == {0o755, 0o644}


# --- the digest ----------------------------------------------------------------------------------


def test_digest_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one", {"a": b"x", "b": b"y"})
    same = write_model(tmp_path / "same", {"b": b"y", "a": b"x"})
    os.utime(same / "a", (0, 0))
    (same / "empty").mkdir()
    swapped = write_model(tmp_path / "swapped", {"a": b"y", "b": b"x"})
    renamed = write_model(tmp_path / "renamed", {"a": b"x", "c": b"y"})

    assert digest_of(one) == digest_of(same)
    assert len({digest_of(one), digest_of(swapped), digest_of(renamed)}) == 3


def test_digest_is_the_documented_one(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", {"a": b"abc"})
    rows = f'[["a","{SHA256_OF_ABC}",3]]'
    assert digest_of(model) == hashlib.sha256(rows.encode()).hexdigest()


def test_the_order_of_files_in_a_manifest_changes_no_digest(model: Path, serving: Path) -> None:
    file = publish(model, serving, {}).path / MANIFEST_NAME
    content = json.loads(file.read_text())
    content["files"] = dict(reversed(content["files"].items()))
    file.write_text(json.dumps(content))
    assert [version.problems for version in versions(serving, check_files=True)] == [()]


# --- refusals ------------------------------------------------------------------------------------


def assert_refused(message: str, model: Path, serving: Path, **options: object) -> None:
    """Asserts a one-line error, and that neither a version nor staging is left."""
    with pytest.raises(ServingDirError, match=message) as caught:
        publish(model, serving, {}, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    if serving.is_dir():
        assert numbers(serving) == []
        assert staging_in(serving) == []


def no_model(folder: Path) -> Path:
    return folder / "none"


def a_file(folder: Path) -> Path:
    (folder / "model").write_bytes(b"")
    return folder / "model"


def no_file(folder: Path) -> Path:
    (folder / "model" / "assets").mkdir(parents=True)
    return folder / "model"


def a_link(folder: Path) -> Path:
    model = write_model(folder / "model")
    (model / "variables" / "link").symlink_to("/etc/passwd")
    return model


def a_fifo(folder: Path) -> Path:
    model = write_model(folder / "model")
    os.mkfifo(model / "pipe")
    return model


def its_own_manifest(folder: Path) -> Path:
    return write_model(folder / "model", {MANIFEST_NAME: b"{}"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_model, "model .* does not exist: give"),
        (a_file, "model .* is a file: give"),
        (no_file, "holds no file: export"),
        (a_link, "'variables/link', a symbolic link"),
        (a_fifo, "'pipe', a symbolic link or special file"),
        (its_own_manifest, "holds 'manifest.json', a name kept"),
    ],
)
def test_what_is_no_model_is_refused(
    make: Callable[[Path], Path], message: str, tmp_path: Path, serving: Path
) -> None:
    assert_refused(message, make(tmp_path), serving)
    assert not serving.exists()


def test_a_serving_directory_inside_the_model_is_refused(model: Path) -> None:
    for inside in (model, model / "serving"):
        with pytest.raises(ServingDirError, match="is inside the model"):
            publish(model, inside, {})
        with pytest.raises(ServingDirError, match="is inside the model"):
            hold(model, inside, {}, run_id="r", decided=decided_now(model, model.parent / "none"))
    assert not (model / LOCK_NAME).exists()


def test_a_serving_directory_that_cannot_be_one_is_refused(model: Path, serving: Path) -> None:
    serving.write_bytes(b"precious")
    assert_refused("is a file: choose another path", model, serving)
    assert_refused("Not a directory.*parents are directories", model, serving / "below")
    assert serving.read_bytes() == b"precious"
    with pytest.raises(ServingDirError, match="cannot read the serving directory"):
        versions(serving)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", Path("/")])
def test_release_record_that_is_not_json_is_refused(
    value: object, model: Path, serving: Path
) -> None:
    with pytest.raises(ServingDirError, match=r"JSON.*; give another release record, of text, "):
        publish(model, serving, {"metrics": {"accuracy": value}})
    assert (numbers(serving), staging_in(serving)) == ([], [])


@pytest.fixture
def unwritable(model: Path) -> Iterator[tuple[Path, Path]]:
    """A readable model, and a directory in which the test's user may not write, root or not."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    shutil.copytree(model, base / "model")
    (base / "serving").mkdir()
    (base / "serving").chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # nobody
    try:
        if not os.access(base / "model" / "saved_model.pb", os.R_OK, effective_ids=True):
            pytest.skip(f"{base} is in a directory that only root may enter")
        yield base / "model", base / "serving"
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        (base / "serving").chmod(0o755)
        shutil.rmtree(base)


def test_no_permission_is_refused(unwritable: tuple[Path, Path]) -> None:
    model, serving = unwritable
    assert_refused("Permission denied.*give this user permission", model, serving)


def test_full_disk_is_refused_and_leaves_nothing(
    model: Path, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.mkdir()
    monkeypatch.setattr(os, "fsync", full_disk)
    assert_refused("No space left.*free space", model, serving)


# On a disk that has no room for it.
PUBLISH = """
import sys
from pathlib import Path
from components import serving_dir
served = Path(sys.argv[2])
try:
    serving_dir.publish(Path(sys.argv[1]), served, {})
except serving_dir.ServingDirError as error:
    print(error)
print(serving_dir.versions(served), [path.name for path in served.iterdir()])
"""


def test_a_disk_that_fills_up_leaves_nothing(large_model: Path, serving: Path) -> None:
    serving.mkdir()
    command = [sys.executable, "-c", PUBLISH, str(large_model), str(serving)]
    disk = on_a_small_disk(serving, "300k", command)
    done = subprocess.run(disk, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    line, left = done.stdout.splitlines()
    assert line.startswith(f"cannot publish {large_model} to {serving}: No space left on device")
    assert line.endswith("free space on that disk, and publish again; no version was added")
    assert left == f"[] ['{LOCK_NAME}']"


def test_failed_sync_after_the_rename_says_that_the_version_is_there(
    model: Path, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_sync_once_there(serving / "1", monkeypatch)
    with pytest.raises(ServingDirError, match=r"version 1 is complete and in place"):
        publish(model, serving, {})
    assert newest_valid(serving).number == 1


def test_failed_write_is_refused_and_leaves_nothing(tmp_path: Path, serving: Path) -> None:
    """A real failure in the middle: the kernel refuses to let the second file grow."""
    model = write_model(tmp_path / "model", {"a": b"x", "b": b"y" * 100_000})
    limit = 50_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        assert_refused("File too large.*raise the limit", model, serving)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert publish(model, serving, {}).version == 1
