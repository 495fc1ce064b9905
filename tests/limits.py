"""Python in a process of its own that may take neither much memory nor long.

What is tested there would otherwise wait for ever, or take all of the machine's memory.
"""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TIMEOUT_S = 300  # nothing here takes a second; a machine may be busy
ADDRESS_SPACE_BYTES = 1 << 30

ROOT = Path(__file__).parents[1]


def limited(
    code: str, *arguments: object, address_space_bytes: int = ADDRESS_SPACE_BYTES
) -> "subprocess.CompletedProcess[str]":
    """Runs code with arguments; a process that outlives the time limit fails the test."""

    # By a shell: a function of ours between fork and exec would let gRPC, which other tests import,
    # run its handlers in the child, and these write to stderr.
    limit = f'ulimit -v {address_space_bytes // 1024}; exec "$@"'
    return subprocess.run(
        [
            "sh",
            "-c",
            limit,
            "sh",
            sys.executable,
            "-c",
            textwrap.dedent(code),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        # One thread of BLAS: each takes address space, as many as there are cores.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )


def on_a_small_disk(folder: Path, size: str, command: list[str]) -> list[str]:
    """The command, with a small disk in the folder that no other process sees."""
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(folder)]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare(1), which gives a process a disk of its own")
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a disk of their own: {tried.stderr.strip()}")
    return [*unshare, *command]


def full_disk(descriptor: int) -> None:
    """Stands in place of `os.fsync`: the first write that must reach the disk finds no space."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
