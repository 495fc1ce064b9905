"""Lines of the log are there whole or not at all, also where the system takes a part of one."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.serving_dir import ServingDirError
from components.serving_dir.decisions import register
from components.serving_dir.log import LOG_NAME, Decision, opened, read_log
from tests.components.serving_dir.samples import python
from tests.limits import full_disk

# Registers decisions with a limit on the file's size, and once more without.
LIMITED = """
import resource, sys
from pathlib import Path
from components.serving_dir import ServingDirError
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
serving, room = Path(sys.argv[1]), int(sys.argv[2])
def number(model):
    return register(serving, Decision("test", model, None, "policy"), run_id="run").number
log = serving / ".decisions.jsonl"
print(number("first"), flush=True)
before = log.read_bytes()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
for model in ("second", "third", "fourth"):
    try:
        print(number(model))
    except ServingDirError as error:
        print(error)
    assert log.read_bytes() == before
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(*(number(model) for model in ("second", "third", "fourth", "first")))
"""


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_line_that_the_disk_does_not_take_is_an_error_and_leaves_nothing(
    room: int, serving: Path
) -> None:
    process = python(LIMITED, serving, room)
    answer = process.communicate()[0].splitlines()
    assert process.returncode == 0
    assert (answer[0], answer[-1]) == ("1", "2 3 4 1")
    assert len(answer) == 5
    for line in answer[1:4]:
        assert line.startswith(f"cannot write the decision to {serving / LOG_NAME}: File too large")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_on_a_full_disk_no_decision_is_lost_or_counted_twice(small_disk: Path) -> None:
    def number(model: str) -> int:
        return register(
            small_disk, Decision("test", model, None, "policy"), run_id="r" * 3000
        ).number

    assert [number(f"m{index}") for index in range(3)] == [1, 2, 3]
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 100_000)
    before = (small_disk / LOG_NAME).read_bytes()
    for model in ("m3", "m4", "m5", "m6"):
        with pytest.raises(ServingDirError, match=r"No space left on device: free space"):
            number(model)
    assert (small_disk / LOG_NAME).read_bytes() == before
    ballast.unlink()
    assert [number(f"m{index}") for index in (3, 0, 4)] == [4, 1, 5]


def test_what_the_system_takes_in_pieces_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, taken = os.write, []

    def take_seven(descriptor: int, content: bytes) -> int:
        taken.append(write(descriptor, content[:7]))
        return taken[-1]

    monkeypatch.setattr(os, "write", take_seven)
    with opened(tmp_path) as log:
        log.append([{"number": 1}, {"number": 2}])
    assert taken == [7, 7, 7, 7]  # two lines of 14 bytes
    with opened(tmp_path) as log:
        assert [json.loads(line) for line in log.lines] == [{"number": 1}, {"number": 2}]


def test_a_line_that_cannot_be_synced_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as log:
        log.append([{"number": 1}])
    with opened(tmp_path) as log, monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            log.append([{"number": 2}])
    assert (tmp_path / LOG_NAME).read_text() == '{"number": 1}\n'


def test_a_whole_record_without_its_newline_is_read_and_kept(tmp_path: Path) -> None:
    first, second = (Decision("test", model, None, "policy") for model in ("m1", "m2"))
    log = tmp_path / LOG_NAME
    register(tmp_path, first, run_id="run")
    edited = log.read_bytes().removesuffix(b"\n")  # by an editor
    log.write_bytes(edited)
    assert read_log(tmp_path) == [first]
    assert register(tmp_path, first, run_id="run").number == 1
    assert register(tmp_path, second, run_id="run").number == 2
    assert read_log(tmp_path) == [first, second]
    assert log.read_bytes().startswith(edited + b"\n{")


def test_a_line_cut_anywhere_is_none_until_its_record_is_whole(tmp_path: Path) -> None:
    first, second = (Decision("test", model, None, "policy") for model in ("m1", "m2"))
    log = tmp_path / LOG_NAME
    register(tmp_path, first, run_id="run")
    before = len(log.read_bytes())
    register(tmp_path, second, run_id="run")
    content = log.read_bytes()
    for end in range(before, len(content)):
        log.write_bytes(content[:end])
        whole = [first, second] if end == len(content) - 1 else [first]
        assert read_log(tmp_path) == whole
        with opened(tmp_path) as held:
            held.append([{"number": 3}])
        lines = log.read_bytes().splitlines(keepends=True)
        assert lines == [*content.splitlines(keepends=True)[: len(whole)], b'{"number": 3}\n']


def test_a_last_line_that_is_nested_too_deeply_is_none(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text("[" * 100_000)
    assert read_log(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        *('{"test_digest": "mnist"}', '{"rejection": {"reason": "zu groß"}}', "[]"),
        *('{"rejection": {}} {"rejection": {}}', "no JSON\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_an_edited_last_line_that_is_no_record_is_damaged_and_not_cut_off(
    line: str, encoding: str, tmp_path: Path
) -> None:
    log = tmp_path / LOG_NAME
    log.write_text(line, encoding)
    for act in (
        lambda: read_log(tmp_path),
        lambda: register(tmp_path, Decision("test", "m1", None, "policy"), run_id="run"),
    ):
        with pytest.raises(
            ServingDirError, match=r"line 1 of .*\.decisions\.jsonl is damaged .*rest"
        ):
            act()
    assert log.read_text(encoding) == line


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_an_editors_other_ends_of_lines_lose_none(end: bytes, tmp_path: Path) -> None:
    made = [Decision("test", model, None, "policy") for model in ("m1", "m2", "m3")]
    log = tmp_path / LOG_NAME
    for decision in made[:2]:
        register(tmp_path, decision, run_id="run")
    log.write_bytes(log.read_bytes().replace(b"\n", end))
    assert read_log(tmp_path) == made[:2]
    assert [register(tmp_path, one, run_id="run").number for one in made] == [1, 2, 3]
    assert read_log(tmp_path) == made


def test_the_missing_newline_is_written_once(tmp_path: Path) -> None:
    log = tmp_path / LOG_NAME
    log.write_text('{"number": 1}')
    with opened(tmp_path) as held:
        held.append([{"number": 2}])
        held.append([{"number": 3}])
    assert log.read_text() == '{"number": 1}\n{"number": 2}\n{"number": 3}\n'


def test_whoever_may_read_the_serving_directory_may_read_its_log(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0o077)
    try:
        register(tmp_path, Decision("test", "model", None, "policy"), run_id="run")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / LOG_NAME).stat().st_mode) == 0o644
