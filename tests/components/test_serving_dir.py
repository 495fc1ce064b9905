"""Publishing: what a version is, what is refused, and that no kill or race leaves a broken one."""

import errno
import hashlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest

from components import serving_dir
from components.serving_dir import (
    LOCK_NAME,
    MANIFEST_NAME,
    STAGING_PREFIX,
    ServingDirError,
    digest_of,
    export_model,
    locked,
    newest_valid,
    publish,
    verify,
    versions,
)

KILL_ROUNDS = 100
KILL_SEED = 20261123
RACE_ROUNDS = 5
POLLED_VERSIONS = 20

# FIPS 180-2, appendix B.1
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

SMALL_MODEL = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"weights" * 1000,
}
# Waits for a line of input, so that its imports are done when a test lets it begin.
PUBLISHER = """
import sys
from pathlib import Path
from components import serving_dir
print("ready", flush=True)
sys.stdin.readline()
for model in sys.argv[2:]:
    published = serving_dir.publish(Path(model), Path(sys.argv[1]), {"model": model})
    print(published.version, flush=True)
"""
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


def write_model(path: Path, files: Mapping[str, bytes] = SMALL_MODEL) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def python(script: str, *arguments: object, **options: object) -> "subprocess.Popen[str]":
    root = Path(serving_dir.__file__).parents[1]
    return subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def start_publisher(serving: Path, *models: Path) -> "subprocess.Popen[str]":
    """Returns a publisher that has imported all it needs, and waits for `release`."""
    process = python(PUBLISHER, serving, *models)
    assert process.stdout.readline() == "ready\n"
    return process


def release(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def staging_in(serving: Path) -> list[str]:
    return [path.name for path in serving.glob(f"{STAGING_PREFIX}*")]


def numbers(serving: Path) -> list[int]:
    return [version.number for version in versions(serving)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "other", {"saved_model.pb": b"another graph"})


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving"


# --- what is published ---------------------------------------------------------------------------


def test_first_version_is_1_and_holds_the_model(model: Path, serving: Path) -> None:
    published = publish(model, serving, {})

    assert (published.version, published.path, published.created) == (1, serving / "1", True)
    for name, content in SMALL_MODEL.items():
        assert (serving / "1" / name).read_bytes() == content
    assert sorted(path.name for path in serving.iterdir()) == [LOCK_NAME, "1"]


def test_manifest_records_files_digest_time_and_release(tmp_path: Path, serving: Path) -> None:
    model = write_model(tmp_path / "model", {"saved_model.pb": b"abc"})
    clock = datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc)
    publish(model, serving, {"run_id": "r"}, now=lambda: clock)

    assert json.loads((serving / "1" / MANIFEST_NAME).read_text()) == {
        "format": 1,
        "version": 1,
        "published_at": "2026-11-23T10:00:00+00:00",
        "model_digest": digest_of(model),
        "files": {"saved_model.pb": {"sha256": SHA256_OF_ABC, "bytes": 3}},
        "release": {"run_id": "r"},
    }


def test_next_version_is_highest_plus_one_whatever_the_clock_says(
    model: Path, other_model: Path, serving: Path
) -> None:
    future = datetime(2100, 1, 1, tzinfo=timezone.utc)
    past = datetime(1971, 1, 1, tzinfo=timezone.utc)

    assert publish(model, serving, {}, now=lambda: future).version == 1
    assert publish(other_model, serving, {}, now=lambda: past).version == 2
    shutil.rmtree(serving / "1")
    assert publish(model, serving, {}, now=lambda: past).version == 3


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
    ["-7", "٧", "1_0", "7a", "0x7", "", "7.0", "9223372036854775808", "9" * 200],  # noqa: RUF001
)
def test_other_names_do_not_count(name: str, model: Path, serving: Path) -> None:
    (serving / name).mkdir(parents=True, exist_ok=True)
    assert publish(model, serving, {}).version == 1


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


def test_newest_valid_steps_over_a_damaged_version(
    model: Path, other_model: Path, serving: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(model, serving, {})
    publish(other_model, serving, {})
    (serving / "2" / "saved_model.pb").unlink()
    assert newest_valid(serving).number == 1
    assert "saved_model.pb' is missing" in caplog.text


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


def test_export_refuses_a_damaged_version_and_leaves_nothing(
    model: Path, serving: Path, tmp_path: Path
) -> None:
    path = publish(model, serving, {}).path
    (path / "saved_model.pb").write_bytes(b"GRAPH")
    [version] = versions(serving)
    with pytest.raises(ServingDirError, match=r"version 1 .*'saved_model.pb' has SHA-256"):
        export_model(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_never_overwrites(model: Path, serving: Path, tmp_path: Path) -> None:
    publish(model, serving, {})
    (tmp_path / "out").mkdir()
    with pytest.raises(ServingDirError, match="exists already"):
        export_model(newest_valid(serving), tmp_path / "out")
    assert (tmp_path / "out").is_dir()


# --- refusals ------------------------------------------------------------------------------------


def assert_refused(message: str, model: Path, serving: Path, **options: object) -> None:
    """Asserts a one-line error, and that neither a version nor staging is left."""
    with pytest.raises(ServingDirError, match=message) as caught:
        publish(model, serving, {}, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    if serving.is_dir():
        assert numbers(serving) == []
        assert staging_in(serving) == []


def test_missing_model_is_refused(tmp_path: Path, serving: Path) -> None:
    assert_refused("model .* does not exist: give", tmp_path / "none", serving)
    assert not serving.exists()


def test_file_as_model_is_refused(tmp_path: Path, serving: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert_refused("model .* is a file: give", tmp_path / "file", serving)


def test_model_without_files_is_refused(tmp_path: Path, serving: Path) -> None:
    (tmp_path / "model" / "assets").mkdir(parents=True)
    assert_refused("holds no file: export", tmp_path / "model", serving)
    assert not serving.exists()


def test_symbolic_link_in_the_model_is_refused(model: Path, serving: Path) -> None:
    (model / "variables" / "link").symlink_to("/etc/passwd")
    assert_refused("'variables/link', a symbolic link", model, serving)
    assert not serving.exists()


def test_special_file_in_the_model_is_refused(model: Path, serving: Path) -> None:
    os.mkfifo(model / "pipe")
    assert_refused("'pipe', a symbolic link or special file", model, serving)


def test_model_with_a_manifest_of_its_own_is_refused(model: Path, serving: Path) -> None:
    (model / MANIFEST_NAME).write_text("{}")
    assert_refused("holds 'manifest.json', a name kept", model, serving)


def test_serving_directory_inside_the_model_is_refused(model: Path) -> None:
    assert_refused("is inside the model", model, model / "serving")


def test_serving_directory_on_a_file_is_refused(model: Path, serving: Path) -> None:
    serving.write_bytes(b"precious")
    assert_refused("is a file: choose another path", model, serving)
    assert serving.read_bytes() == b"precious"
    with pytest.raises(ServingDirError, match="cannot read the serving directory"):
        versions(serving)


def test_serving_directory_below_a_file_is_refused(model: Path, serving: Path) -> None:
    serving.write_bytes(b"")
    assert_refused("Not a directory.*parents are directories", model, serving / "below")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", Path("/")])
def test_release_record_that_is_not_json_is_refused(
    value: object, model: Path, serving: Path
) -> None:
    with pytest.raises(ServingDirError, match="release record is not JSON"):
        publish(model, serving, {"metrics": {"accuracy": value}})
    assert not serving.exists()


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
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    serving.mkdir()
    monkeypatch.setattr(os, "fsync", full)
    assert_refused("No space left.*free space", model, serving)


def test_failed_sync_after_the_rename_says_that_the_version_is_there(
    model: Path, serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fail_after_rename(descriptor: int) -> None:
        if (serving / "1").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_after_rename)
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


def test_lock_held_by_another_publisher_is_a_clear_error(model: Path, serving: Path) -> None:
    serving.mkdir()
    with locked(serving, timeout_s=0.0):
        assert_refused("another publisher has held .*wait", model, serving, lock_timeout_s=0.05)
    assert publish(model, serving, {}, lock_timeout_s=0.0).version == 1


# --- kills and races -----------------------------------------------------------------------------


def test_leftovers_are_removed_by_the_next_publish(model: Path, serving: Path) -> None:
    write_model(serving / f"{STAGING_PREFIX}dead" / "variables")
    (serving / f"{STAGING_PREFIX}link").symlink_to(model)
    publish(model, serving, {})
    assert staging_in(serving) == []
    assert model.is_dir()


@pytest.fixture
def large_model(tmp_path: Path) -> Path:
    """3 MB in 20 files: a publish has many moments at which it can be killed."""
    content = random.Random(0).randbytes(150_000)
    return write_model(
        tmp_path / "large",
        {f"variables/{i % 6}/shard-{i:02d}": bytes([i]) + content for i in range(20)},
    )


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
