"""SIGKILL before every system call of publish, rollback and prune: what does a directory lose?

    python -m benchmarks.kills

For each change, in a copy of one serving directory each time: a forked process is traced from the
moment at which the change begins, and `strace` kills it when it enters the k-th call of one kind,
for every kind and every k until the change comes to its end. Nothing that was complete may be gone
or incomplete then, no mark of a withdrawn version may be lost, the next change must work and clean
up. It needs Linux, `strace` (Debian's package) and the right to trace one's own children.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from components.serving_dir import live, prune, publish, rollback, verify
from tests.components.serving_dir.samples import publish_letters, write_model
from tests.components.serving_dir.test_kills_and_races import KEPT, Before, hidden_in

# They change nothing on a disk, and how many there are depends on the interpreter's memory.
IGNORED = frozenset({"brk", "mmap", "munmap", "madvise", "mremap", "futex", "rt_sigtimedwait"})
BEGIN = {signal.SIGUSR1}

Change = Callable[[Path], object]


def traced(change: Change, serving: Path, *words: str) -> bool:
    """Does the change in a process of its own that `strace` traces; tells whether it was killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BEGIN)  # so that it waits for the child
    child = os.fork()
    if not child:
        signal.sigwait(BEGIN)
        try:
            change(serving)
        except BaseException as error:
            print(f"{error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    command = ["strace", *words, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        said = tracer.stderr.readline()
        os.kill(child, *BEGIN)
        _, status = os.waitpid(child, 0)
    if " attached" not in said or (os.WIFEXITED(status) and os.WEXITSTATUS(status)):
        raise RuntimeError(f"the change failed: {said}")
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def kinds_of_calls(change: Change, template: Path, folder: Path) -> Counter[str]:
    """How often a change that is not disturbed makes which system call."""
    serving, log = folder / "whole", folder / "calls"
    shutil.copytree(template, serving)
    traced(change, serving, "-o", str(log))
    names = (line.partition("(")[0] for line in log.read_text().splitlines() if "(" in line)
    return Counter(name for name in names if name.isidentifier() and name not in IGNORED)


def kills(name: str, change: Change, template: Path, other_model: Path, folder: Path) -> int:
    """Kills the change at each of its calls; returns how often."""
    before = Before.of(template, KEPT)
    killed = 0
    for call, expected in sorted(kinds_of_calls(change, template, folder).items()):
        at = 1
        while True:
            serving = folder / f"{call}-{at}"
            shutil.copytree(template, serving)
            injected = f"inject={call}:signal=KILL:when={at}"
            if not traced(change, serving, "-o", os.devnull, "-e", f"trace={call}", "-e", injected):
                break
            killed, at = killed + 1, at + 1
            before.assert_nothing_is_lost(serving, name)
            publish(other_model, serving, {})
            assert verify(live(serving)) == ()
            assert hidden_in(serving) == [], hidden_in(serving)
            shutil.rmtree(serving)
        if at - 1 < expected:
            raise RuntimeError(f"{call} was called {expected} times, and killed {at - 1} times")
    return killed


def main() -> None:
    """Prints the number of kills of each change; an AssertionError is a loss."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template", "serving")
        publish_letters(template, "abc")
        rollback(template, 2)
        publish_letters(template, "de")
        model = write_model(Path(folder, "model"))
        other = write_model(Path(folder, "other"), {"saved_model.pb": b"another graph"})
        changes: dict[str, Change] = {
            "publish": lambda serving: publish(model, serving, {}),
            "rollback": lambda serving: rollback(serving, 1),
            "prune": lambda serving: prune(serving, KEPT),
        }
        for name, change in changes.items():
            where = Path(folder, name)
            where.mkdir()
            print(f"{name}: {kills(name, change, template, other, where)} kills, none lost")


if __name__ == "__main__":
    main()
