"""A server's process, which ends with its context, even if this process is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from components.serving_check.contract import ServerLost

PREFIX = "serving-check-"  # of temporary directories

_LOG = "log"
_ENDING_S = 5.0  # given to a process that closed its connections
_LAST_BYTES = 4096  # of the log: a line of it is quoted
_KIB_PER_MIB = 1024
_SHELL = 128  # + the number of a signal
# What a process brings upon itself; all other signals come from outside, such as the kernel's
# SIGKILL where memory runs out (signal(7)).
_OF_ITSELF = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS}
)

# Its standard input ends when we do, by whatever signal; then it kills the server's process group
# ($1) and removes what lay in the temporary directory ($2).
_WATCH = 'read -r _; kill -s KILL -- "-$1"; rm -rf "$2"'


class ServerProcess:
    """A running server, and what it wrote."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log

    def ended(self) -> bool:
        return self._popen.poll() is not None

    def lost(self) -> ServerLost:
        """Returns the error that says how the process ended, or that it closed the connection."""
        try:
            code = self._popen.wait(timeout=_ENDING_S)
        except subprocess.TimeoutExpired:
            return ServerLost(f"the server closed the connection{self.last_line()}")
        number = -code if code < 0 else code - _SHELL  # as a shell around it says
        known = number in set(signal.Signals)
        how = signal.Signals(number).name if known else f"exit status {code}"
        return ServerLost(
            f"the server ended with {how}{self.last_line()}",
            by_itself=not known or number in _OF_ITSELF,
        )

    def last_line(self) -> str:
        """Returns ": " and the last line of its output, with what it indents below it, or ""."""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_BYTES))
            text = log.read(_LAST_BYTES).decode(errors="replace").strip()
        last = re.split(r"\n(?=\S)", text)[-1]
        return f": {' '.join(last.split())}" if last else ""

    def peak_memory_mib(self) -> float:
        """Returns the process's VmHWM (proc(5)); raises ServerLost if the process has ended.

        The `ru_maxrss` of wait4(2) would not do, because it starts with the memory of the parent.
        """
        if not self.ended():
            status = Path(f"/proc/{self._popen.pid}/status").read_text()
            found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
            if found:
                return int(found[1]) / _KIB_PER_MIB
        raise self.lost()


@contextlib.contextmanager
def server_process(
    command: Sequence[str],
    directory: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    pass_fds: Collection[int] = (),
) -> Iterator[ServerProcess]:
    """Runs a command as long as the context lasts; raises ServerLost if it cannot be started.

    The server's temporary directory is removed if this process is killed.
    """
    log = directory / _LOG
    with contextlib.ExitStack() as stack:
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(log.open("wb")),
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=pass_fds,
                # A group of its own: it is killed with its children, and not by a terminal's
                # Ctrl-C, which is ours to handle.
                start_new_session=True,
            )
            stack.callback(_kill, popen)
            watcher = subprocess.Popen(
                ["sh", "-c", _WATCH, "sh", str(popen.pid), str(directory)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerLost(f"the server cannot be started: {error}") from error
        # Stopped first: it must not act on a process number that is another's by then.
        stack.callback(_kill, watcher)
        yield ServerProcess(popen, log)


def _kill(popen: subprocess.Popen[bytes]) -> None:
    """Ends the process group at once, as neither server nor watcher has anything to save."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    with popen:  # waits for it and closes its pipes
        pass
