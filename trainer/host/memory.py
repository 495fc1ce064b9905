"""How much more memory this process may use: on the machine, in its container, by `ulimit`.

Synopsis::

    memory_left()       # Room(num_bytes=1_431_655_765, where="its control group (container)")
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_KIB = 1024


class Room(NamedTuple):
    """Free memory, and whose it is: "the 2.1 GB that `where` has left"."""

    num_bytes: int
    where: str


def memory_left(root: Path = Path("/")) -> Room:
    """Returns the tightest of all limits; `root` holds proc and sys."""
    return min(_rooms(root))


def _rooms(root: Path) -> Iterator[Room]:
    # What the kernel can free without swapping counts as free, here and in control groups.
    yield Room(_facts(root / "proc/meminfo")["MemAvailable:"] * _KIB, "this machine")
    for folder in _control_groups(root):
        with contextlib.suppress(OSError, KeyError, ValueError):
            yield Room(_left_in_group(folder), "its control group (container)")
    used = _facts(root / "proc/self/status")
    for limit, of, name in (
        (resource.RLIMIT_AS, "VmSize:", "ulimit -v"),
        (resource.RLIMIT_DATA, "VmData:", "ulimit -d"),
    ):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            yield Room(max(0, most - used[of] * _KIB), name)


def _control_groups(root: Path) -> Iterator[Path]:
    """Yields the directories of this process's memory groups, of version 1 and 2, up to the root.

    In a container the path of /proc/self/cgroup may be that of the host: the container's own group
    is then the root that it sees.
    """
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
            group = top / path.strip("/")
            yield from (group, *group.parents)


def _left_in_group(folder: Path) -> int:
    """Raises ValueError if the group has no limit, OSError if it is none of that version."""
    stat = _facts(folder / "memory.stat")
    if (folder / "memory.max").exists():
        limit, used, prefix = "memory.max", "memory.current", ""
    else:
        limit, used, prefix = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
    files = stat[f"{prefix}active_file"] + stat[f"{prefix}inactive_file"]
    left = int((folder / limit).read_text()) - int((folder / used).read_text()) + files
    return max(0, left)


def _facts(file: Path) -> dict[str, int]:
    """Reads lines such as "MemAvailable:  123 kB" or "active_file 123"."""
    words = (line.split() for line in file.read_text().splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdecimal()}
