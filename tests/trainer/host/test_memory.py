from pathlib import Path

import pytest

from tests.limits import limited
from trainer.host.memory import Room, memory_left

MIB = 1 << 20
GROUP = "its control group (container)"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """One that has 900 MiB left, without control groups."""
    write(tmp_path, "proc/meminfo", f"MemTotal: {2000 * 1024} kB\nMemAvailable: {900 * 1024} kB\n")
    write(tmp_path, "proc/self/status", "Groups:\t\nVmSize:\t1024 kB\nVmData:\t512 kB\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def add_group(root: Path, path: str, limit: str, used: int, files: int, *, version: int) -> None:
    if version == 2:
        folder, names = f"sys/fs/cgroup/{path}", ("memory.max", "memory.current")
        stat = f"anon 7\ninactive_file {files}\nactive_file 0\n"
    else:
        folder = f"sys/fs/cgroup/memory/{path}"
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        stat = f"inactive_file 1\ntotal_inactive_file 0\ntotal_active_file {files}\n"
    write(root, f"{folder}/{names[0]}", f"{limit}\n")
    write(root, f"{folder}/{names[1]}", f"{used}\n")
    write(root, f"{folder}/memory.stat", stat)


@pytest.mark.parametrize(("version", "line"), [(1, "4:memory:/pods/a:b"), (2, "0::/pods/a:b")])
def test_a_control_group_leaves_its_limit_less_what_is_used_and_no_files_page(
    machine: Path, version: int, line: str
) -> None:
    write(machine, "proc/self/cgroup", f"9:cpu,cpuacct:/other\n{line}\n")
    add_group(machine, "other", str(MIB), 0, 0, version=1)
    add_group(machine, "pods/a:b", str(500 * MIB), 300 * MIB, 100 * MIB, version=version)
    assert memory_left(machine) == Room((500 - 300 + 100) * MIB, GROUP)


def test_the_group_above_may_leave_less(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/pods/a\n")
    add_group(machine, "pods/a", "max", 300 * MIB, 0, version=2)
    add_group(machine, "pods", str(400 * MIB), 350 * MIB, 0, version=2)
    write(machine, "sys/fs/cgroup/memory.stat", "active_file 7\n")  # the topmost has no limit
    assert memory_left(machine) == Room(50 * MIB, GROUP)


def test_a_container_that_sees_the_path_of_its_host_finds_its_own_group(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "4:memory:/docker/0123\n")
    add_group(machine, "", str(500 * MIB), 300 * MIB, 0, version=1)
    assert memory_left(machine) == Room(200 * MIB, GROUP)


def test_a_group_without_a_limit_or_none_leaves_what_the_machine_has(machine: Path) -> None:
    assert memory_left(machine) == Room(900 * MIB, "this machine")
    write(machine, "proc/self/cgroup", "0::/\n4:memory:/\n")
    add_group(machine, "", "9223372036854771712", 300 * MIB, 0, version=1)
    assert memory_left(machine) == Room(900 * MIB, "this machine")


def test_a_group_that_uses_more_than_its_limit_leaves_nothing(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/\n")
    add_group(machine, "", str(500 * MIB), 600 * MIB, 0, version=2)
    assert memory_left(machine) == Room(0, GROUP)


def test_an_address_space_that_is_limited_counts() -> None:
    done = limited(
        """
        from trainer.host.memory import memory_left
        print(*memory_left())
        """,
        address_space_bytes=1000 * MIB,
    )
    left, where = done.stdout.strip().split(" ", 1)
    assert where == "ulimit -v"
    assert 0 < int(left) < 1000 * MIB
