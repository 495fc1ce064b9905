"""A kill, and an error, at every system call of publish, rollback and prune: what is lost?

    python -m benchmarks.kills

Each time a forked process makes one change in a copy of one serving directory. `strace` attaches to
it before the change begins, and kills it when it enters the k-th call of one kind, or lets that
call fail: for every kind and every k. Nothing that was complete may be gone or incomplete then, no
mark of a withdrawn version may be lost, the next change must work and clean up, and an error must
be a `ServingDirError`. It needs Linux, `strace` (Debian's package) and the right to trace children.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from components.serving_dir import (
    LOG_NAME,
    ServingDirError,
    live,
    prune,
    publish,
    rollback,
    verify,
    withdrawn_digests,
)
from tests.components.serving_dir.samples import hidden_in, publish_letters, write_model
from tests.components.serving_dir.test_kills_and_races import KEPT, Before

# They change nothing on a disk, and how many there are depends on the interpreter's memory.
IGNORED = frozenset({"brk", "mmap", "munmap", "madvise", "mremap", "futex", "rt_sigtimedwait"})
BEGIN = {signal.SIGUSR1}
FAULTS = {"kills": "signal=KILL", "errors of the disk": "error=EIO", "full disks": "error=ENOSPC"}

Change = Callable[[Path], object]


def traced(change: Change, serving: Path, *words: str) -> bool:
    """Does the change in a process of its own that `strace` traces; tells whether it was killed.

    Raises:
      RuntimeError: it ended with something else than the documented error.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, BEGIN)  # so that it waits for the child
    child = os.fork()
    if not child:
        signal.sigwait(BEGIN)
        try:
            with contextlib.suppress(ServingDirError):
                change(serving)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    command = ["strace", *words, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        said = tracer.stderr.readline()
        os.kill(child, *BEGIN)
        _, status = os.waitpid(child, 0)
    if " attached" not in said or status not in (0, signal.SIGKILL):
        raise RuntimeError(f"{' '.join(command)}: {said}, status {status}")
    return status == signal.SIGKILL


def kinds_of_calls(change: Change, template: Path, folder: Path) -> Counter[str]:
    """How often a change that is not disturbed makes which system call."""
    serving, log = folder / "whole", folder / "calls"
    shutil.copytree(template, serving)
    traced(change, serving, "-o", str(log))
    names = (line.partition("(")[0] for line in log.read_text().splitlines() if "(" in line)
    return Counter(name for name in names if name.isidentifier() and name not in IGNORED)


def disturb(name: str, change: Change, template: Path, folder: Path, fault: str) -> int:
    """Disturbs the change at each of its calls; returns how often."""
    before, disturbed = Before.of(template, KEPT), 0
    other_model = write_model(folder / "other", {"saved_model.pb": b"another graph"})
    for call, count in sorted(kinds_of_calls(change, template, folder).items()):
        for at in range(1, count + 1):
            serving = folder / f"{call}-{at}"
            shutil.copytree(template, serving)
            injected = f"inject={call}:{fault}:when={at}"
            words = ("-o", os.devnull, "-e", f"trace={call}", "-e", injected)
            if traced(change, serving, *words) != (fault == FAULTS["kills"]):
                raise RuntimeError(f"{injected} did not come in time")
            disturbed += 1
            before.assert_nothing_is_lost(serving, name)
            assert withdrawn_digests(template).keys() <= withdrawn_digests(serving).keys()
            publish(other_model, serving, {})
            now = live(serving)
            assert now
            assert verify(now) == ()
            assert hidden_in(serving) == [], hidden_in(serving)
            shutil.rmtree(serving)
    return disturbed


def main() -> None:
    """Prints how often each change was disturbed; an AssertionError is a loss."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template", "serving")
        publish_letters(template, "abc")
        rollback(template, 2)
        publish_letters(template, "de")
        (template / LOG_NAME).unlink()  # so that pruning has a withdrawal to write down
        model = write_model(Path(folder, "model"))
        changes: dict[str, Change] = {
            "publish": lambda serving: publish(model, serving, {}),
            "rollback": lambda serving: rollback(serving, 1),
            "prune": lambda serving: prune(serving, KEPT),
        }
        for what, fault in FAULTS.items():
            for name, change in changes.items():
                where = Path(folder, what, name)
                where.mkdir(parents=True)
                count = disturb(name, change, template, where, fault)
                print(f"{name}: {count} {what}, nothing lost", flush=True)


if __name__ == "__main__":
    main()
