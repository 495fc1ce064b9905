"""Which paths a run can use, and what the others are refused for before anything is written."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.host.paths import (
    expanded,
    missing,
    own_temporary_directory,
    require_access,
    require_directory,
    require_file,
    require_no_pattern,
    slug,
    temporary_directory,
)

NOBODY = 65534


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere; tests run as root in containers."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


class TestExpanded:
    def test_a_tilde_is_the_home_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        assert expanded("~/models") == "/home/ada/models"
        assert expanded("~") == "/home/ada"
        assert expanded("a/~/b~") == "a/~/b~"

    def test_a_file_that_begins_with_a_tilde_may_be_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "~img.png").touch()
        assert expanded("~img.png") == "~img.png"
        assert expanded("./~other") == "./~other"

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("", "a path"),
            (" ", "a path"),
            ("a\0b", "a path without a null character"),
            (
                "~nosuchuser/x",
                "the home directory of a known user; a file of this name is ./~nosuch",
            ),
        ],
    )
    def test_what_is_no_path_is_refused(self, path: str, expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            expanded(path)


class TestPattern:
    @pytest.mark.parametrize("character", ["[", "*", "?", "\\"])
    def test_characters_of_patterns_are_refused(self, character: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"is .*, expected a path without .* takes for a p"):
            require_no_pattern("pipeline_root", tmp_path / f"a{character}b" / "root")

    def test_so_are_those_of_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a[b]").mkdir()
        monkeypatch.chdir(tmp_path / "a[b]")
        with pytest.raises(ValueError, match=r"pipeline_root is '.*/a\[b\]/root', expected a path"):
            require_no_pattern("pipeline_root", "root")

    def test_all_others_are_taken(self) -> None:
        require_no_pattern("pipeline_root", "we ird,#%20:'@{b}é$;&=()!|^\"~]<>+")


class TestDirectory:
    def test_one_that_is_there_or_can_be_made_is_taken_and_nothing_is_written(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        for path in (tmp_path, tmp_path / "a" / "b", tmp_path / "link" / "c", "relative/d"):
            require_directory("serving_dir", path)
        assert [path.name for path in tmp_path.iterdir()] == ["link"]

    def test_a_file_in_its_place_or_above_it_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
            with pytest.raises(ValueError, match=f"needs the directory '{path}', but '.*/file' is"):
                require_directory("serving_dir", path)

    def test_one_with_a_name_that_no_file_system_takes_is_refused(self, tmp_path: Path) -> None:
        said = (
            "^what has a name of 256 bytes in its path, expected at most 255: choose another what$"
        )
        with pytest.raises(ValueError, match=said):
            require_directory("what", tmp_path / ("ä" * 128) / "below")
        require_directory("what", tmp_path / ("ä" * 127) / "below")

    def test_one_whose_path_leaves_no_room_for_the_files_below_it_is_refused(
        self, tmp_path: Path
    ) -> None:
        path = f"{tmp_path}{'/abcdefg' * 500}"[:3839]  # no name is too long
        require_directory("what", f"{path}x")
        said = "^what has a path of 3,841 bytes, expected at most 3,840: choose a shorter what$"
        with pytest.raises(ValueError, match=said):
            require_directory("what", f"{path}xy")

    def test_a_link_to_nothing_and_one_to_itself_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dangling").symlink_to(tmp_path / "none")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        for name in ("dangling", "loop", "loop/a"):
            with pytest.raises(ValueError, match="is none: move that away, or choose another"):
                require_directory("serving_dir", tmp_path / name)

    def test_one_that_this_user_may_not_write_to_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o555)
        with ordinary_user(), pytest.raises(ValueError, match="this user may not read and write"):
            require_directory("serving_dir", tmp_path / "a")

    def test_one_in_which_nobody_can_make_a_file_is_refused(self) -> None:
        # Root may do all there, and no file can be made.
        with pytest.raises(ValueError, match=r"serving_dir needs '/proc/self', .* or choose anoth"):
            require_directory("serving_dir", "/proc/self/served")

    def test_a_name_that_is_no_utf_8_is_refused(self, tmp_path: Path) -> None:
        require_directory("pipeline_root", tmp_path / "é")
        with pytest.raises(ValueError, match=r"is '.*\\udcff', expected a name in UTF-8"):
            require_directory("pipeline_root", tmp_path / os.fsdecode(b"\xff"))


def test_a_file_that_this_user_may_not_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    require_access("serving_dir", tmp_path / "lock")
    (tmp_path / "lock").chmod(0o444)
    with ordinary_user(), pytest.raises(ValueError, match=r"serving_dir needs '.*/lock', whi"):
        require_access("serving_dir", tmp_path / "lock")


def test_what_this_user_may_not_see_is_not_said_to_be_missing(tmp_path: Path) -> None:
    assert missing(tmp_path) == ""
    assert missing(tmp_path / "none") == missing(tmp_path / ("e" * 256)) == "does not exist"
    (tmp_path / "closed").mkdir(mode=0)
    with ordinary_user():
        assert missing(tmp_path / "closed" / "none") == "cannot be read (Permission denied)"


def test_a_file_may_be_missing_but_not_a_directory_a_fifo_or_a_link(tmp_path: Path) -> None:
    require_file("serving_dir", tmp_path / "log")
    (tmp_path / "log").touch()
    require_file("serving_dir", tmp_path / "log")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("log")  # it opens, but whoever writes there follows no link
    (tmp_path / "dangling").symlink_to("none")
    for name in ("directory", "fifo", "link", "dangling"):
        with pytest.raises(ValueError, match=f"needs the file '.*/{name}', but something else"):
            require_file("serving_dir", tmp_path / name)


def test_a_slug_is_a_file_name_of_the_length_that_tfx_takes() -> None:
    assert slug("emnist/balanced") == "emnist_balanced"
    assert slug("a" * 53) == "a" * 53
    one, other = slug("a" * 54 + "/b"), slug("a" * 54 + "/c")
    assert len(one) == len(other) == 53
    assert one != other


LEAVES_FILES = """
import atexit, contextlib, os, shutil, signal, sys, tempfile, threading, time
from trainer.host import termination
from trainer.host.paths import own_temporary_directory, temporary_directory
from trainer.host.termination import Terminated, terminable

own_temporary_directory()
tempfile.mkdtemp()
atexit.register(shutil.rmtree, tempfile.mkdtemp())  # as matplotlib does
print(tempfile.gettempdir(), temporary_directory(), flush=True)
if sys.argv[2:]:
    termination.GRACE_S = 0.1
    threading.Thread(target=time.sleep, args=(600,)).start()
if sys.argv[1:]:
    with contextlib.suppress(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
"""


class TestOwnTemporaryDirectory:
    @pytest.mark.parametrize(
        ("words", "code"), [([], 0), (["terminated"], 143), (["terminated", "waits"], 143)]
    )
    def test_it_goes_with_the_process(self, tmp_path: Path, words: list[str], code: int) -> None:
        done = subprocess.run(
            [sys.executable, "-c", LEAVES_FILES, *words],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, "")
        own, given = map(Path, done.stdout.split())
        assert (own.parent, given) == (tmp_path, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_where_no_directory_can_be_made_there_is_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", "/proc")
        own_temporary_directory()
        assert tempfile.gettempdir() == temporary_directory() == "/proc"
