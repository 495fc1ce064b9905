"""Files that survive a kill; reading what others wrote: real FIFOs, devices, sockets, loops."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.limits import full_disk, limited
from trainer.host.files import (
    UnfitFile,
    open_descriptor,
    read_regular,
    require_whole_records,
    sync_directory,
    write_durably,
)

BOUND = 100


def a_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # whose path may be longer than that of a bound one


# What can stand where a file is expected, and what is said of it.
STAND_INS: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "Is a FIFO, expected a regular file"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "Is a device, expected"),
    "directory": (Path.mkdir, "Is a directory, expected a regular file"),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "socket": (a_socket, "No such device or address"),
    "nothing": (lambda path: None, "No such file or directory"),
    "sparse file": (
        lambda path: (path.touch(), os.truncate(path, 1 << 40)),
        "Holds 1,099,511,627,776 bytes or more, expected at most 100",
    ),
}


READ_BOTH_WAYS = """
import sys
from pathlib import Path
from trainer.host.files import open_regular, read_regular
for read in (read_regular, open_regular):
    try:
        read(Path(sys.argv[1]), max_bytes=int(sys.argv[2]))
    except OSError as error:
        assert error.filename == sys.argv[1]
        print(error.strerror)
"""


@pytest.mark.parametrize("name", STAND_INS)
def test_what_is_no_file_to_read_is_an_error_at_once(name: str, tmp_path: Path) -> None:
    make, said = STAND_INS[name]
    make(tmp_path / "there")
    done = limited(READ_BOTH_WAYS, tmp_path / "there", BOUND)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith(said)


def test_a_file_of_just_the_size_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * BOUND)
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", max_bytes=BOUND) == b"x" * BOUND


def test_a_file_that_tells_no_size_is_read_no_further_than_the_bound() -> None:
    path = Path("/proc/self/environ")  # of 0 bytes, says its status
    assert path.stat().st_size == 0
    with pytest.raises(UnfitFile, match="bytes or more, expected at most 1"):
        read_regular(path, max_bytes=1)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(UnfitFile):
        read_regular(tmp_path / "fifo", max_bytes=BOUND)
    write_durably(tmp_path / "file", "new")
    assert os.listdir("/proc/self/fd") == before


def test_a_file_is_on_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[object] = []  # contents, of a directory its names

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.read_text() if path.is_file() else os.listdir(path))

    monkeypatch.setattr(os, "fsync", sync)
    write_durably(tmp_path / "made" / "file", "new")
    assert synced == [["made"], "new", ["file"]]


# Is killed at the call that the second argument names.
KILLED = """
import os, pathlib, signal, sys
from trainer.host.files import write_durably

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

moment = {"sync": (os, "fsync"), "rename": (pathlib.Path, "replace")}[sys.argv[2]]
setattr(*moment, killed)
write_durably(pathlib.Path(sys.argv[1]), "new")
"""


@pytest.mark.parametrize("moment", ["sync", "rename"])
def test_a_kill_leaves_what_was_there_and_is_in_nobodys_way(moment: str, tmp_path: Path) -> None:
    write_durably(tmp_path / "file", "old")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "file", moment], check=False)
    assert done.returncode == -9
    assert (tmp_path / "file").read_text() == "old"
    write_durably(tmp_path / "file", b"\xff")
    assert (tmp_path / "file").read_bytes() == b"\xff"
    assert [one.name for one in tmp_path.iterdir() if not one.name.startswith(".")] == ["file"]


def test_two_that_write_the_same_file_at_once_tear_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, seen = tmp_path / "file", os.fsync, []

    def write_in_between(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_durably(path, "of another process")
        seen.append(path.read_text())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", write_in_between)
    write_durably(path, "of this one")
    assert [*seen, path.read_text()] == ["of another process", "of this one"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_the_permissions_of_a_replaced_file_stay(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, "old")
    path.chmod(mode)
    write_durably(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has groups to choose from for certain")
def test_the_group_of_a_replaced_file_stays(tmp_path: Path) -> None:
    # Its permissions would be another group's.
    path = tmp_path / "file"
    write_durably(path, "old")
    os.chown(path, -1, 65534)
    path.chmod(0o640)
    write_durably(path, "new")
    assert (path.stat().st_gid, path.stat().st_mode & 0o777) == (65534, 0o640)


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_durably(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_of_the_longest_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_durably(path, "content")
    assert path.read_text() == "content"


def test_text_that_is_no_utf8_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_durably(tmp_path / "file", "\udcff")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_made_the_reason_is_said() -> None:
    with pytest.raises(OSError, match=r"Permission denied|Read-only file system"):
        write_durably(Path("/sys/new"), "")


def test_a_file_system_without_a_sync_of_directories_is_no_error() -> None:
    folder = Path("/proc/self")  # like a folder that VirtualBox shares
    descriptor = os.open(folder, os.O_RDONLY)
    with pytest.raises(OSError, match="Invalid argument"):
        os.fsync(descriptor)
    os.close(descriptor)
    sync_directory(folder)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/file")
    for content in ("new", "newer"):
        write_durably(tmp_path / "link", content)
        assert (tmp_path / "elsewhere" / "file").read_text() == content
    assert os.readlink(tmp_path / "link") == "elsewhere/file"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


def test_what_the_disk_does_not_take_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made" / "on the way" / "file"
    write_durably(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, "new")
    assert [one.read_text() for one in path.parent.iterdir()] == ["old"]
    with pytest.raises(OSError, match="No space left"):
        sync_directory(tmp_path)


@pytest.mark.parametrize("declared", [85, 1 << 40, (1 << 64) - 1])
def test_a_record_that_declares_more_than_the_file_has_is_refused(
    declared: int, tmp_path: Path
) -> None:
    def record(length: int) -> bytes:
        return length.to_bytes(8, "little") + b"\xff" * (4 + 84 + 4)

    file = tmp_path / "log"
    file.write_bytes(record(84) * 2)
    require_whole_records(file)
    file.write_bytes(record(84) + record(declared))
    with pytest.raises(UnfitFile, match=r"corrupted record at 100, of .* bytes in a file of 200"):
        require_whole_records(file)
    file.write_bytes((3 << 30).to_bytes(8, "little"))
    os.truncate(file, 1 << 40)  # it has so many bytes, and takes no space
    with pytest.raises(UnfitFile, match="corrupted record at 0"):
        require_whole_records(file)


def test_a_file_of_another_user_in_a_sticky_directory_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linux(path: Path, flags: int, mode: int = 0o777) -> int:
        """As Linux does where fs.protected_regular is 2, which is Debian's default."""
        if flags & os.O_CREAT and path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, mode)

    real = os.open
    monkeypatch.setattr(os, "open", linux)
    for _ in range(2):  # made, and then opened
        os.close(open_descriptor(tmp_path / "lock", os.O_RDWR | os.O_CREAT, max_bytes=None))
    with pytest.raises(FileNotFoundError):
        open_descriptor(tmp_path / "none", os.O_RDWR, max_bytes=None)


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follows no link, as Linux where it is another user's in a directory such as /tmp
    (fs.protected_symlinks, which is on by default).
    """

    def linux(path: Path, **options: bool) -> os.stat_result:
        if os.path.islink(path) and options.get("follow_symlinks", True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, **options)

    real = os.stat
    monkeypatch.setattr(os, "stat", linux)


def test_a_link_that_linux_does_not_follow_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    refuse_links(monkeypatch)
    with pytest.raises(PermissionError):
        write_durably(tmp_path / "link", "new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["link", "mine"]
